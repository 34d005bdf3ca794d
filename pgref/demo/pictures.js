// The pictures of a pane, {x, z, action, value, values, steps, shoved, policy, element}, on its canvases.

let ink = {}; // the colours of the style, by name

/** Return a canvas's context in CSS pixels, emptied, with its width and height. */
function cleared(canvas) {
  const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = getComputedStyle(document.body).font.replace(/^.*?\d+px/, "13px");
  g.textBaseline = "middle";
  return { g, width, height };
}

function write(g, text, x, y, align = "left", colour = ink.text) {
  g.fillStyle = colour;
  g.textAlign = align;
  g.fillText(text, x, y);
}

function drawWorld(pane) {
  const { g, width, height } = cleared($(".world", pane.element));
  const pixels = height / world.view.height;
  if (pane.shoved && pane.steps - pane.shoved.at < world.rate / 2) {
    const { strength } = pane.shoved;
    const tail = Math.max(0.15, Math.abs(strength)) * 0.3 * width * Math.sign(strength);
    g.strokeStyle = g.fillStyle = ink.bad;
    g.lineWidth = 3;
    g.beginPath();
    g.moveTo(width / 2 - tail / 2, 14);
    g.lineTo(width / 2 + tail / 2, 14);
    g.stroke();
    g.beginPath();
    for (const [dx, dy] of [[10, 0], [0, -7], [0, 7]]) g.lineTo(width / 2 + tail / 2 + dx * Math.sign(strength), 14 + dy);
    g.fill();
  }
  g.save();
  g.translate(width / 2, height / 2);
  g.scale(pixels, -pixels);
  g.translate(-world.view.x, -world.view.y);
  world.draw(g, pane.x, pane.action, ink);
  g.restore();
}

function drawChoices(pane, { g, width, height }) {
  const p = probabilities(pane.z);
  const row = height / p.length;
  const [from, to] = [62, width - 58];
  p.forEach((share, i) => {
    const y = row * (i + 0.5);
    const thick = Math.min(18, row - 6);
    const colour = i === pane.action ? ink.act : ink.soft;
    write(g, word(world.actions[i]), from - 10, y, "right", i === pane.action ? ink.text : ink.quiet);
    g.fillStyle = ink.edge;
    g.fillRect(from, y - thick / 2, to - from, thick);
    g.fillStyle = colour;
    g.fillRect(from, y - thick / 2, (to - from) * share, thick);
    write(g, `${(100 * share).toFixed(1)} %`, width, y, "right", i === pane.action ? ink.text : ink.quiet);
  });
}

function drawNormal(pane, { g, width, height }) {
  const { mean, deviation } = normalOf(pane.z);
  const [low, high] = [pane.policy.actionSpace.low[0], pane.policy.actionSpace.high[0]];
  const [bottom, top, margin] = [height - 20, 18, 0.12 * (high - low)];
  const place = (a) => ((a - low + margin) / (high - low + 2 * margin)) * width;
  g.fillStyle = ink.edge;
  g.fillRect(place(low), bottom, place(high) - place(low), 2);
  g.beginPath();
  g.moveTo(0, bottom);
  for (let x = 0; x <= width; x += 1) {
    const a = low - margin + (x / width) * (high - low + 2 * margin);
    g.lineTo(x, bottom - (bottom - top) * Math.exp(-0.5 * ((a - mean) / deviation) ** 2));
  }
  g.lineTo(width, bottom);
  g.fillStyle = ink.soft;
  g.fill();
  g.fillStyle = ink.act;
  g.fillRect(place(pane.action) - 1.5, top - 4, 3, bottom - top + 8);
  write(g, `μ = ${fixed(mean)}, σ = ${fixed(deviation)}`, 0, 8);
  write(g, `${word(world.actions[0])} ${fixed(pane.action)}`, width, 8, "right", ink.act);
  for (const [a, align] of [[low, "left"], [0, "center"], [high, "right"]]) write(g, fixed(a, 0), place(a), height - 8, align, ink.quiet);
}

function drawValue(pane) {
  const { g, width, height } = cleared($(".value", pane.element));
  const [low, high] = [Math.min(...pane.values), Math.max(...pane.values)];
  const middle = (low + high) / 2;
  const span = Math.max(high - low, 0.1 * Math.abs(middle), 0.1);
  const right = width - 66;
  const place = (v) => height / 2 - ((v - middle) / span) * (height - 20);
  for (const v of [low, high].slice(high - low < 0.4 * span ? 1 : 0)) {
    g.fillStyle = ink.edge;
    g.fillRect(0, place(v), right, 1);
    write(g, fixed(v), width, place(v), "right", ink.quiet);
  }
  g.strokeStyle = ink.act;
  g.lineWidth = 2;
  g.lineJoin = "round";
  g.beginPath();
  pane.values.forEach((v, i) => g.lineTo((i / (REMEMBERED - 1)) * right, place(v)));
  g.stroke();
}

// ---- numbers

function probabilities(z) {
  const most = Math.max(...z);
  const weights = z.map((v) => Math.exp(v - most));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / sum);
}

const normalOf = ([mean, logStd]) => ({ mean, deviation: Math.exp(logStd) });
const fixed = (number, digits = 2) => (Math.round(number * 10 ** digits) / 10 ** digits + 0).toFixed(digits).replace("-", "−");
const rounded = (number) => fixed(number, 1).replace(".0", "");
