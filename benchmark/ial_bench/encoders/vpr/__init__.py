"""Published place-recognition encoders: one module an architecture, weights from the authors' files alone."""
