// One query as a card: its photo, the truth, and what each run answered.
(() => {
  "use strict";
  const { el, load, unpack, value, count } = IalBench;
  const SAME_STREET = 128;
  const NOWHERE = -2147483648;

  function city() {
    const index = value("index");
    if (!index.city) {
      const a = index.addresses;
      index.city = {
        texts: a.texts,
        streets: a.streets,
        neighbourhoods: a.neighbourhoods,
        streetOf: unpack(a.streetOf),
        neighbourhoodOf: unpack(a.neighbourhoodOf),
        candidates: unpack(a.candidates),
        trainPhotos: unpack(a.trainPhotos),
      };
      index.city.isCandidate = new Uint8Array(a.texts.length);
      for (const row of index.city.candidates) index.city.isCandidate[row] = 1;
    }
    return index.city;
  }

  // What became of a query: right, in the list, on the right street, or wrong.
  const OUTCOMES = {
    right: { mark: "✓", said: "right" },
    listed: { mark: "○", said: "right address further down" },
    street: { mark: "≈", said: "right street, wrong part of it" },
    wrong: { mark: "✗", said: "wrong" },
  };

  function kindOf(outcome) {
    const place = outcome & 127;
    if (place === 1) return "right";
    if (outcome & SAME_STREET) return "street";
    return place ? "listed" : "wrong";
  }

  // Everything known of query i: facts, and the answers of some runs.
  async function query(i, runs) {
    const index = value("index");
    const chunk = Math.floor(i / index.chunk);
    const at = i % index.chunk;
    const [where, facts, ...answers] = await Promise.all([
      load("where"), load(`queries-${chunk}`), ...runs.map((r) => load(`answers-${r.number}-${chunk}`)),
    ]);
    return {
      i,
      id: facts.ids[at],
      path: facts.paths ? facts.paths[at] : facts.ids[at],
      heading: unpack(facts.heading)[at],
      trainMetres: unpack(facts.trainMetres)[at],
      address: unpack(where.address)[i],
      answers: answers.map((chunkAnswers, n) => answersOf(chunkAnswers, at, runs[n])),
    };
  }

  function answersOf(chunk, at, run) {
    const candidates = unpack(chunk.candidates);
    const scores = unpack(chunk.scores);
    const from = at * run.shown;
    const found = { run, list: [], position: null };
    for (let j = from; j < from + run.shown; j++) found.list.push({ candidate: candidates[j], score: scores[j] });
    if (chunk.lat && unpack(chunk.lat)[at] !== NOWHERE) {
      found.position = [unpack(chunk.lat)[at] / 1e6, unpack(chunk.lon)[at] / 1e6];
    }
    return found;
  }

  function hasPhoto(i) {
    const photos = value("photos");
    if (photos.all) return true;
    return photos.bits ? ((unpack(photos.bits)[i >> 3] >> (i & 7)) & 1) === 1 : false;
  }

  function photo(q, eager) {
    const photos = value("photos");
    if (!hasPhoto(q.i)) return el("p", { class: "no-photo" }, photos.why);
    const image = el("img", {
      src: `${photos.folder}/${Math.floor(q.i / 1000)}/${q.i}.jpg`,
      alt: `query ${count(q.i + 1)}`,
      loading: eager ? "eager" : "lazy",
      decoding: "async",
    });
    image.addEventListener("error", () => image.replaceWith(el("p", { class: "no-photo" }, "the thumbnail is missing")));
    return image;
  }

  function compass(degrees) {
    return ["N", "NE", "E", "SE", "S", "SW", "W", "NW"][Math.round(degrees / 45) % 8];
  }

  function facts(q) {
    const parts = [];
    if (!Number.isNaN(q.heading)) parts.push(`looking ${compass(q.heading)} (${Math.round(q.heading)}°)`);
    if (q.trainMetres < 1e9) parts.push(`nearest train photo ${q.trainMetres.toFixed(1)} m away`);
    const candidate = city().isCandidate[q.address];
    if (!candidate) parts.push("its address is no candidate: every answer counts as wrong");
    return parts.join(" · ");
  }

  function kindOfAnswer(q, candidate) {
    if (candidate < 0) return "wrong";
    const c = city();
    const row = c.candidates[candidate];
    if (row === q.address) return "right";
    return c.streetOf[row] === c.streetOf[q.address] ? "street" : "wrong";
  }

  function score(number) {
    return Number.isFinite(number) ? Number(number.toPrecision(4)).toString() : "";
  }

  function answerList(q, answer) {
    const c = city();
    const items = answer.list.map(({ candidate, score: s }) => {
      const kind = kindOfAnswer(q, candidate);
      return el("li", { class: kind },
        el("span", { class: "mark", title: OUTCOMES[kind].said, "aria-label": OUTCOMES[kind].said, role: "img" }, OUTCOMES[kind].mark),
        el("span", { class: "address" }, candidate < 0 ? "no answer" : c.texts[c.candidates[candidate]]),
        el("span", { class: "score" }, candidate < 0 ? "" : score(s)));
    });
    return el("div", { class: "answer" },
      el("h3", {}, el("a", { href: answer.run.page }, answer.run.label)),
      el("ol", {}, items));
  }

  // The card of a query. `links` are shown beside its number.
  function card(q, links, eager = false) {
    return el("article", { class: "card", "data-query": q.i, "aria-label": `query ${q.i + 1}` },
      el("div", { class: "photo" }, photo(q, eager)),
      el("div", { class: "truth" },
        el("p", { class: "id" }, el("strong", {}, `${count(q.i + 1)} `), el("code", {}, q.id)),
        !q.path.startsWith(q.id) && el("p", { class: "id" }, el("code", {}, q.path)),
        el("p", { class: "address" }, city().texts[q.address]),
        el("p", { class: "note" }, facts(q)),
        el("p", { class: "links" }, links)),
      el("div", { class: "answers" }, q.answers.map((a) => answerList(q, a))));
  }

  Object.assign(IalBench, { city, query, card, kindOf, kindOfAnswer, OUTCOMES, SAME_STREET, NOWHERE });
})();
