// What moves the page. Before it stand PAGE, `worlds`, and the exported networks: `trained` and `untrained`,
// each with `policy` and `critic`; then words.js and pictures.js. For tests and the console there is
// window.play, at the end.

const SPEEDS = [0.25, 0.5, 1, 2, 4, 16, Infinity];
const REMEMBERED = 300; // values in the plot of V
const $ = (selector, within = document) => within.querySelector(selector);
const world = worlds.WORLDS[PAGE.env];
const settings = { lang: PAGE.lang, speed: 2, gravity: 1, shoves: 0, noise: 0, sample: false };
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
let seed = 1;

// ---- chance: mulberry32, so that both panes meet the same starts, noise and shoves

function generator(number) {
  let a = number;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const uniforms = (pane, n) => Array.from({ length: n }, pane.random);
const normal = (u, v) => Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v); // Box & Muller 1958
const normals = (pane, n) => Array.from({ length: n }, () => normal(pane.random(), pane.random()));

// ---- an episode

function begin(pane) {
  pane.episode += 1;
  pane.random = generator(Math.imul(seed, 0x9e3779b1) ^ Math.imul(pane.episode, 0x85ebca6b));
  Object.assign(pane, { x: world.start(uniforms(pane, world.draws)), steps: 0, total: 0, over: "", values: [], shoved: 0 });
  look(pane);
}

/** Observe the state, through the noise, and choose; every draw is made whatever the settings are. */
function look(pane) {
  const obs = world.observe(pane.x);
  const noise = normals(pane, obs.length);
  const seen = obs.map((v, i) => Math.fround(v + settings.noise * world.spread[i] * noise[i]));
  const chance = gaussian ? normals(pane, 1) : uniforms(pane, 1);
  pane.z = pane.policy.outputs(seen);
  [pane.action] = pane.policy.choose(pane.z, settings.sample ? chance : null);
  [pane.value] = pane.critic.outputs(seen);
  pane.values.push(pane.value);
  if (pane.values.length > REMEMBERED) pane.values.shift();
}

function advance(pane) {
  if (pane.over) {
    pane.rest -= 1;
    if (pane.rest <= 0) begin(pane);
    return;
  }
  const constants = { ...world.constants, gravity: world.constants.gravity * settings.gravity };
  const { x, reward, terminated } = world.step(pane.x, pane.action, constants);
  Object.assign(pane, { x, steps: pane.steps + 1, total: pane.total + reward });
  const blow = 2 * pane.random() - 1;
  if (pane.steps % world.rate === 0 && settings.shoves) shove(pane, settings.shoves * blow);
  if (terminated || pane.steps >= world.limit) {
    pane.over = terminated ? world.ends : "limit";
    pane.rest = world.rate; // a second to see how it ended
    pane.ended.push({ steps: pane.steps, total: pane.total, over: pane.over });
  }
  look(pane);
}

function shove(pane, strength) {
  if (pane.over) return;
  pane.x = world.shove(pane.x, strength);
  pane.shoved = { strength, at: pane.steps };
}

// ---- controls

const word = (name) => WORDS[settings.lang][name] ?? name;

function draw() {
  for (const pane of panes) {
    drawWorld(pane);
    (gaussian ? drawNormal : drawChoices)(pane, cleared($(".policy", pane.element)));
    drawValue(pane);
    const ended = $(".ended", pane.element);
    ended.textContent = pane.over && word(pane.over)(pane.steps);
    ended.className = `ended ${pane.over}`;
    const before = pane.over ? pane.ended.slice(0, -1) : pane.ended;
    const mean = before.reduce((sum, { total }) => sum + total, 0) / before.length;
    $(".numbers", pane.element).textContent =
      word("numbers")(pane.steps, rounded(pane.total)) + (before.length ? word("before")(before.length, rounded(mean)) : "");
    $(".value-now", pane.element).textContent = fixed(pane.value);
  }
}

function show() {
  document.documentElement.lang = settings.lang;
  document.title = word("title");
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const button of document.querySelectorAll("[data-lang]")) button.ariaPressed = String(button.dataset.lang === settings.lang);
  for (const pane of panes) {
    $(".name", pane.element).textContent = word(pane.name);
    $(".policy-name", pane.element).textContent = word(gaussian ? "policyNormal" : "policyChoices");
    for (const part of ["world", "policy", "value"]) {
      const name = { world: "world", policy: gaussian ? "policyNormal" : "policyChoices", value: "value" }[part];
      $(`.${part}`, pane.element).ariaLabel = `${word(pane.name)}: ${word(name)}`;
    }
  }
  $("#pause").textContent = word(paused ? "go" : "pause");
  $("#tested").textContent = word("tested")(failed);
  const percent = (share) => (share ? `${Math.round(100 * share)} %` : word("off"));
  const speed = SPEEDS[settings.speed];
  const shown = {
    speed: speed === Infinity ? word("top") : `${speed} ×`,
    gravity: `${settings.gravity.toFixed(2)} ×`,
    shoves: percent(settings.shoves),
    noise: percent(settings.noise),
  };
  for (const [name, text] of Object.entries(shown)) {
    const input = $(`#${name}`);
    input.value = settings[name];
    input.ariaValueText = $("output", input.parentElement).textContent = text;
  }
  $("#sample").checked = settings.sample;
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "quiet", "edge", "line", "soft", "body", "act", "good", "bad"];
  ink = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  draw();
}

function pause(yes = !paused) {
  paused = yes;
  show();
}

function reset(from = seed + 1) {
  seed = from;
  for (const pane of panes) {
    Object.assign(pane, { episode: -1, ended: [] });
    begin(pane);
  }
  draw();
}

function run(steps) {
  for (let i = 0; i < steps; i += 1) panes.forEach(advance);
  draw();
}

function shoveBoth(strength) {
  for (const pane of panes) shove(pane, strength);
  draw();
}

function set(changes) {
  Object.assign(settings, changes);
  show();
}

function step() {
  pause(true);
  run(1);
}

function pressed(event) {
  const kind = event.target.matches("input[type=range]") ? "range" : event.target.matches("button, input") ? "button" : "";
  const actions = { s: step, r: () => reset() };
  if (kind !== "button") actions[" "] = () => pause();
  if (kind !== "range") Object.assign(actions, { ArrowLeft: () => shoveBoth(-0.6), ArrowRight: () => shoveBoth(0.6) });
  const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
}

// ---- time

let last = performance.now();
let due = 0;

function frame(now) {
  const speed = SPEEDS[settings.speed];
  const passed = Math.min(now - last, 100) / 1000;
  last = now;
  if (!paused) {
    due = speed === Infinity ? Infinity : due + passed * world.rate * speed;
    const until = performance.now() + 12; // of the 16 ms between two frames
    const before = due;
    while (due >= 1 && performance.now() < until) {
      panes.forEach(advance);
      due -= 1;
    }
    due = Math.min(due, 1);
    if (before >= 1) draw();
  }
  requestAnimationFrame(frame);
}

const panes = Object.entries({ trained, untrained }).map(([name, { policy, critic }]) => {
  const element = $("#pane").content.cloneNode(true).firstElementChild;
  $("main").append(element);
  return { name, policy, critic, element, episode: -1, ended: [] };
});
const gaussian = trained.policy.actionSpace.kind === "Box";
const failed = panes.reduce((sum, { policy, critic }) => sum + policy.selfTest() + critic.selfTest(), 0);

for (const button of document.querySelectorAll("[data-lang]")) button.onclick = () => set({ lang: button.dataset.lang });
for (const name of ["speed", "gravity", "shoves", "noise"]) $(`#${name}`).oninput = (event) => set({ [name]: event.target.valueAsNumber });
$("#sample").onchange = (event) => set({ sample: event.target.checked });
$("#pause").onclick = () => pause();
$("#step").onclick = step;
$("#reset").onclick = () => reset();
$("#left").onclick = () => shoveBoth(-0.6);
$("#right").onclick = () => shoveBoth(0.6);
addEventListener("keydown", pressed);
addEventListener("resize", () => show());
const narrow = matchMedia("(max-width: 480px)"); // there the settings cover what they change, until they are wanted
const unfold = () => ($("details").open = !narrow.matches);
narrow.addEventListener("change", unfold);
unfold();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());
reset(1);
show();
requestAnimationFrame(frame);

// For tests, and for the console: run n steps at once, reset to a start, pause, change settings, shove, and
// look at the two panes.
window.play = {
  run,
  reset,
  pause,
  set,
  shove: shoveBoth,
  get state() {
    const fields = ["x", "z", "action", "value", "steps", "total", "over", "ended"];
    return Object.fromEntries(panes.map((pane) => [pane.name, Object.fromEntries(fields.map((f) => [f, pane[f]]))]));
  },
  settings,
  get paused() {
    return paused;
  },
  failed,
  words: WORDS,
};
