// A map on a canvas: metres on a plane, moved and zoomed by mouse, touch and keys.
(() => {
  "use strict";
  const METRES_A_DEGREE = 111195.08;

  // A plane around the middle of some points, in degrees: good to a per mille within a city.
  class Plane {
    constructor(lat, lon) {
      const sample = [];
      for (let i = 0; i < lat.length; i += Math.max(1, Math.floor(lat.length / 2000))) {
        if (lat[i] !== IalBench.NOWHERE) sample.push(i);
      }
      const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1] / 1e6;
      this.lat = sample.length ? middle(sample.map((i) => lat[i])) : 0;
      this.lon = sample.length ? middle(sample.map((i) => lon[i])) : 0;
      this.shrink = Math.cos((this.lat * Math.PI) / 180);
    }

    // Metres east and south of the middle, as [x, y] arrays; NaN where a point is not known.
    project(lat, lon) {
      const x = new Float64Array(lat.length);
      const y = new Float64Array(lat.length);
      for (let i = 0; i < lat.length; i++) {
        const away = lat[i] === IalBench.NOWHERE ? NaN : lon[i] / 1e6 - this.lon;
        x[i] = (((((away + 180) % 360) + 360) % 360) - 180) * this.shrink * METRES_A_DEGREE;
        y[i] = Number.isNaN(away) ? NaN : (this.lat - lat[i] / 1e6) * METRES_A_DEGREE;
      }
      return { x, y };
    }

    point(latitude, longitude) {
      const one = this.project([latitude * 1e6], [longitude * 1e6]);
      return { x: one.x[0], y: one.y[0] };
    }
  }

  class View {
    // `paint(context, view)` draws everything; `pick(x, y)` is told of clicks, in pixels.
    constructor(canvas, paint, pick, changed) {
      Object.assign(this, { canvas, paint, pick, changed, x: 0, y: 0, scale: 1, waiting: false });
      this.pointers = new Map();
      this.listen();
      new ResizeObserver(() => this.resize()).observe(canvas);
      this.resize();
    }

    resize() {
      const ratio = window.devicePixelRatio || 1;
      this.width = this.canvas.clientWidth;
      this.height = this.canvas.clientHeight;
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(this.height * ratio);
      this.ratio = ratio;
      this.redraw();
    }

    redraw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        const context = this.canvas.getContext("2d");
        context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
        context.clearRect(0, 0, this.width, this.height);
        this.paint(context, this);
      });
    }

    toScreen(x, y) {
      return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
    }

    toPlane(px, py) {
      return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y];
    }

    // Shows all of some points, strays aside.
    fit(xs, ys) {
      const bounds = (values) => {
        const known = Float64Array.from(values).filter((v) => !Number.isNaN(v)).sort();
        if (!known.length) return [-100, 100];
        const cut = known.length > 100 ? Math.floor(known.length * 0.002) : 0;
        return [known[cut], known[known.length - 1 - cut]];
      };
      const [west, east] = bounds(xs);
      const [north, south] = bounds(ys);
      this.home = {
        x: (west + east) / 2, y: (north + south) / 2,
        scale: 0.92 * Math.min(this.width / Math.max(east - west, 50), this.height / Math.max(south - north, 50)),
      };
      this.goHome();
    }

    goHome() {
      this.move(this.home);
    }

    move(to) {
      Object.assign(this, to);
      const low = this.home ? this.home.scale / 8 : 1e-6;
      this.scale = Math.min(Math.max(this.scale, low), 20);
      this.redraw();
      this.changed?.();
    }

    zoom(factor, px = this.width / 2, py = this.height / 2) {
      const [x, y] = this.toPlane(px, py);
      const low = this.home ? this.home.scale / 8 : 1e-6;
      const scale = Math.min(Math.max(this.scale * factor, low), 20);
      this.move({ scale, x: x - (px - this.width / 2) / scale, y: y - (py - this.height / 2) / scale });
    }

    listen() {
      const c = this.canvas;
      c.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
      }, { passive: false });
      c.addEventListener("pointerdown", (event) => {
        c.setPointerCapture(event.pointerId);
        this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
        this.travelled = 0;
      });
      c.addEventListener("pointermove", (event) => this.drag(event));
      const end = (event) => {
        const known = this.pointers.delete(event.pointerId);
        if (known && event.type === "pointerup" && this.travelled < 5 && !this.pointers.size) {
          this.pick(event.offsetX, event.offsetY);
        }
      };
      c.addEventListener("pointerup", end);
      c.addEventListener("pointercancel", end);
      c.addEventListener("keydown", (event) => this.key(event));
    }

    drag(event) {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = [event.offsetX, event.offsetY];
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      this.travelled += Math.abs(dx) + Math.abs(dy);
      this.pointers.set(event.pointerId, now);
      if (others.length) {
        const apart = (p) => Math.hypot(p[0] - others[0][0], p[1] - others[0][1]) || 1;
        this.zoom(apart(now) / apart(before), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
      } else if (this.travelled >= 5) {
        this.move({ x: this.x - dx / this.scale, y: this.y - dy / this.scale });
      }
    }

    key(event) {
      const step = 60 / this.scale;
      const moves = {
        ArrowLeft: () => this.move({ x: this.x - step }),
        ArrowRight: () => this.move({ x: this.x + step }),
        ArrowUp: () => this.move({ y: this.y - step }),
        ArrowDown: () => this.move({ y: this.y + step }),
        "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), 0: () => this.goHome(),
      };
      if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      moves[event.key]();
    }

    // A line of a round number of metres, at the lower left.
    paintScale(context, colour) {
      const most = 140 / this.scale;
      const power = 10 ** Math.floor(Math.log10(most));
      const metres = [5, 2, 1].map((f) => f * power).find((m) => m <= most);
      const text = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
      const y = this.height - 14;
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(12, y - 5);
      context.lineTo(12, y);
      context.lineTo(12 + metres * this.scale, y);
      context.lineTo(12 + metres * this.scale, y - 5);
      context.stroke();
      context.font = "12px system-ui, sans-serif";
      context.textAlign = "left";
      context.fillText(text, 16, y - 5);
    }
  }

  Object.assign(IalBench, { Plane, View });
})();
