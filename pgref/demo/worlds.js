// Four environments, with the constants and the order of operations of pgref/envs/*.py, which tests compare.
//
// limit       steps after which an episode is cut off
// rate        steps a second at speed 1
// ends        whether an episode that terminates is "lost" or "won"
// actions     words for the choices, or one for the number that is chosen
// spread      what observation noise is measured in, for each number of an observation
// view        centre and height of what is drawn
// start(u)    the state at the start of an episode, from `draws` uniform numbers
// step        {x, reward, terminated} after one action, under constants c
// shove(x, s) the state after a blow of strength s, from −1 to 1
// draw        a picture in the units of the state, y upwards

const { PI, abs, cos, fround, max, min, sin, sqrt } = Math;
const clip = (value, most) => min(max(value, -most), most);

const CartPole = {
  limit: 500,
  rate: 50,
  ends: "lost",
  actions: ["left", "right"],
  spread: [0.5, 0.5, 0.05, 0.5],
  view: { x: 0, y: 0.5, height: 2.5 },
  draws: 4,
  constants: {
    gravity: 9.8,
    cartMass: 1,
    poleMass: 0.1,
    halfLength: 0.5,
    force: 10,
    dt: 0.02,
    mostPosition: 2.4,
    mostAngle: (12 * 2 * PI) / 360,
    mostStart: 0.05,
  },

  start: (u, c = CartPole.constants) => u.map((v) => -c.mostStart + 2 * c.mostStart * v),

  step([position, velocity, angle, rate], action, c = CartPole.constants) {
    const mass = c.poleMass + c.cartMass;
    const moment = c.poleMass * c.halfLength;
    const force = action === 1 ? c.force : -c.force;
    const push = (force + moment * (rate * rate) * sin(angle)) / mass;
    const inertia = c.halfLength * (4 / 3 - (c.poleMass * (cos(angle) * cos(angle))) / mass);
    const turn = (c.gravity * sin(angle) - cos(angle) * push) / inertia;
    const x = [
      position + c.dt * velocity,
      velocity + c.dt * (push - (moment * turn * cos(angle)) / mass),
      angle + c.dt * rate,
      rate + c.dt * turn,
    ];
    return { x, reward: 1, terminated: abs(x[0]) > c.mostPosition || abs(x[2]) > c.mostAngle };
  },

  observe: (x) => x.map(fround),

  // a blow to the cart, which gives the pole no moment: 4/3·l·Δω + cos θ·Δv = 0
  shove([position, velocity, angle, rate], s, c = CartPole.constants) {
    const change = 2 * s;
    return [position, velocity + change, angle, rate - (cos(angle) * change) / ((4 / 3) * c.halfLength)];
  },

  draw(g, [position, , angle], action, ink, c = CartPole.constants) {
    const end = c.mostPosition;
    line(g, ink.soft, 0.02, [[-end - 0.3, 0], [end + 0.3, 0]]);
    for (const x of [-end, end]) line(g, ink.soft, 0.03, [[x, -0.2], [x, 0.2]]);
    g.fillStyle = ink.line;
    g.fillRect(position - 0.25, -0.14, 0.5, 0.28);
    const length = 2 * c.halfLength;
    line(g, ink.body, 0.09, [[position, 0], [position + length * sin(angle), length * cos(angle)]]);
    disc(g, ink.soft, 0.045, [position, 0]);
    const side = action === 1 ? 1 : -1;
    arrow(g, ink.act, [position + 0.32 * side, 0], [position + 0.72 * side, 0]);
  },
};

const Pendulum = {
  limit: 200,
  rate: 20,
  actions: ["torque"],
  spread: [0.7, 0.7, 4],
  view: { x: 0, y: 0, height: 2.7 },
  draws: 2,
  constants: { gravity: 10, mass: 1, length: 1, mostRate: 8, mostTorque: 2, dt: 0.05 },

  start: (u) => [PI * (2 * u[0] - 1), 2 * u[1] - 1],

  step([angle, rate], action, c = Pendulum.constants) {
    const torque = clip(action, c.mostTorque);
    const turns = (angle + PI) / (2 * PI);
    const wrapped = 2 * PI * (turns - Math.floor(turns)) - PI;
    const cost = wrapped ** 2 + 0.1 * rate ** 2 + 0.001 * torque ** 2;
    const turn = ((3 * c.gravity) / (2 * c.length)) * sin(angle) + (3 / (c.mass * c.length ** 2)) * torque;
    const next = clip(rate + turn * c.dt, c.mostRate);
    return { x: [angle + next * c.dt, next], reward: -cost, terminated: false };
  },

  observe: ([angle, rate]) => [cos(angle), sin(angle), rate].map(fround),

  shove: ([angle, rate], s) => [angle, rate - 4 * s],

  draw(g, [angle], action, ink, c = Pendulum.constants) {
    line(g, ink.good, 0.015, [[0, 0], [0, 1.2 * c.length]], [0.05, 0.04]);
    line(g, ink.body, 0.16, [[0, 0], [-c.length * sin(angle), c.length * cos(angle)]]);
    disc(g, ink.line, 0.06, [0, 0]);
    bend(g, ink.act, [0, 0], 0.35, angle + PI / 2, (clip(action, c.mostTorque) / c.mostTorque) * 2);
  },
};

const Acrobot = {
  limit: 500,
  rate: 15,
  ends: "won",
  actions: ["−1", "0", "+1"],
  spread: [0.5, 0.5, 0.5, 0.5, 2, 4],
  view: { x: 0, y: 0, height: 4.6 },
  draws: 4,
  constants: {
    gravity: 9.8,
    mass1: 1,
    mass2: 1,
    length1: 1,
    centre1: 0.5,
    centre2: 0.5,
    inertia1: 1,
    inertia2: 1,
    torque: 1,
    mostRate1: 4 * PI,
    mostRate2: 9 * PI,
    dt: 0.2,
    mostStart: 0.1,
  },

  start: (u, c = Acrobot.constants) => u.map((v) => fround(-c.mostStart + 2 * c.mostStart * v)),

  // the time derivative of the state: H(q)·q̈ + h(q, q̇) = (0, torque), solved for q̈
  rates([angle1, angle2, rate1, rate2], torque, c) {
    const { gravity: g, mass1: m1, mass2: m2, length1: l1, centre1: c1, centre2: c2 } = c;
    const h11 = m1 * c1 ** 2 + m2 * (l1 ** 2 + c2 ** 2 + 2 * l1 * c2 * cos(angle2)) + c.inertia1 + c.inertia2;
    const h12 = m2 * (c2 ** 2 + l1 * c2 * cos(angle2)) + c.inertia2;
    const h22 = m2 * c2 ** 2 + c.inertia2;
    const weight2 = m2 * c2 * g * cos(angle1 + angle2 - PI / 2);
    const weight1 = (m1 * c1 + m2 * l1) * g * cos(angle1 - PI / 2);
    const coupling = m2 * l1 * c2;
    const bent = sin(angle2);
    const h1 = -coupling * rate2 ** 2 * bent - 2 * coupling * rate2 * rate1 * bent + weight1 + weight2;
    const pull = torque + (h12 / h11) * h1 - coupling * rate1 ** 2 * bent - weight2;
    const turn2 = pull / (h22 - h12 ** 2 / h11);
    return [rate1, rate2, -(h12 * turn2 + h1) / h11, turn2];
  },

  // one step of Runge and Kutta's method
  step(x, action, c = Acrobot.constants) {
    const torque = (action - 1) * c.torque;
    const ahead = (k, dt) => x.map((v, i) => v + dt * k[i]);
    const k1 = Acrobot.rates(x, torque, c);
    const k2 = Acrobot.rates(ahead(k1, c.dt / 2), torque, c);
    const k3 = Acrobot.rates(ahead(k2, c.dt / 2), torque, c);
    const k4 = Acrobot.rates(ahead(k3, c.dt), torque, c);
    const sum = k1.map((k, i) => k + 2 * k2[i] + 2 * k3[i] + k4[i]);
    const [angle1, angle2, rate1, rate2] = ahead(sum, c.dt / 6);
    const wrapped = (angle) => angle - 2 * PI * Math.round(angle / (2 * PI));
    const next = [wrapped(angle1), wrapped(angle2), clip(rate1, c.mostRate1), clip(rate2, c.mostRate2)];
    const up = -cos(next[0]) - cos(next[1] + next[0]) > 1;
    return { x: next, reward: up ? 0 : -1, terminated: up };
  },

  observe: ([angle1, angle2, rate1, rate2]) =>
    [cos(angle1), sin(angle1), cos(angle2), sin(angle2), rate1, rate2].map(fround),

  shove: ([angle1, angle2, rate1, rate2], s) => [angle1, angle2, rate1 + 2 * s, rate2],

  draw(g, [angle1, angle2], action, ink, c = Acrobot.constants) {
    const joint = [c.length1 * sin(angle1), -c.length1 * cos(angle1)];
    const tip = [joint[0] + sin(angle1 + angle2), joint[1] - cos(angle1 + angle2)];
    line(g, ink.good, 0.03, [[-3.6, 1], [3.6, 1]], [0.12, 0.08]);
    line(g, ink.line, 0.16, [[0, 0], joint]);
    line(g, ink.body, 0.16, [joint, tip]);
    for (const point of [[0, 0], joint]) disc(g, ink.soft, 0.07, point);
    bend(g, ink.act, joint, 0.35, angle1 + angle2 - PI / 2, (action - 1) * 1.2);
  },
};

const MountainCarContinuous = {
  limit: 999,
  rate: 30,
  ends: "won",
  actions: ["engine"],
  spread: [0.4, 0.03],
  view: { x: -0.3, y: 0.52, height: 1.25 },
  draws: 1,
  constants: { power: 0.0015, gravity: 0.0025, mostSpeed: 0.07, left: -1.2, right: 0.6, goal: 0.45 },

  start: (u) => [fround(-0.6 + 0.2 * u[0]), 0],

  // in single precision, as Gymnasium keeps this state
  step([position, velocity], action, c = MountainCarContinuous.constants) {
    const engine = fround(min(max(fround(action), -1), 1) * fround(c.power));
    const slope = fround(c.gravity * cos(fround(3 * position)));
    const left = fround(c.left);
    let speed = clip(fround(velocity + fround(engine - slope)), fround(c.mostSpeed));
    const place = min(max(fround(position + speed), left), fround(c.right));
    if (place === left && speed < 0) speed = 0;
    const there = place >= fround(c.goal) && speed >= 0;
    return { x: [place, speed], reward: 100 * there - 0.1 * fround(action) ** 2, terminated: there };
  },

  observe: (x) => x.map(fround),

  shove: ([position, velocity], s) => [position, fround(velocity + 0.03 * s)],

  draw(g, [position], action, ink, c = MountainCarContinuous.constants) {
    const hill = (x) => 0.45 * sin(3 * x) + 0.5;
    const places = Array.from({ length: 101 }, (_, i) => c.left + ((c.right - c.left) * i) / 100);
    line(g, ink.soft, 0.012, places.map((x) => [x, hill(x)]));
    line(g, ink.good, 0.012, [[c.goal, hill(c.goal)], [c.goal, hill(c.goal) + 0.17]]);
    g.fillStyle = ink.good;
    g.fillRect(c.goal, hill(c.goal) + 0.1, 0.1, 0.07);
    const rise = 1.35 * cos(3 * position); // of the hill, for each step to the right
    const along = [1 / sqrt(1 + rise ** 2), rise / sqrt(1 + rise ** 2)];
    const at = (a, b) => [position + a * along[0] - b * along[1], hill(position) + a * along[1] + b * along[0]];
    line(g, ink.body, 0.07, [at(-0.05, 0.075), at(0.05, 0.075)]);
    for (const wheel of [-0.05, 0.05]) disc(g, ink.line, 0.024, at(wheel, 0.03));
    const drive = 0.22 * min(max(action, -1), 1);
    if (abs(drive) > 0.01) arrow(g, ink.act, at(0, 0.17), at(drive, 0.17));
  },
};

function line(g, colour, width, points, dashes = []) {
  g.strokeStyle = colour;
  g.lineWidth = width;
  g.lineCap = dashes.length ? "butt" : "round";
  g.lineJoin = "round";
  g.setLineDash(dashes);
  g.beginPath();
  for (const point of points) g.lineTo(...point);
  g.stroke();
}

function disc(g, colour, radius, centre) {
  g.fillStyle = colour;
  g.beginPath();
  g.arc(...centre, radius, 0, 2 * PI);
  g.fill();
}

// an arrow whose head and width go with its length, up to a size
function arrow(g, colour, from, to) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const across = (s, t) => [from[0] + s * dx - t * dy, from[1] + s * dy + t * dx];
  const outline = [[0, 0.06], [0.55, 0.06], [0.55, 0.22], [1, 0], [0.55, -0.22], [0.55, -0.06], [0, -0.06]];
  g.fillStyle = colour;
  g.beginPath();
  for (const [s, t] of outline) g.lineTo(...across(s, t));
  g.fill();
}

// an arc with a head, from an angle on, counter-clockwise where `turn` is positive
function bend(g, colour, [x, y], radius, from, turn) {
  if (abs(turn) < 0.05) return;
  const point = (angle, r) => [x + r * cos(angle), y + r * sin(angle)];
  const end = from + turn;
  const head = 0.3 * Math.sign(turn);
  g.strokeStyle = colour;
  g.lineWidth = radius / 6;
  g.lineCap = "butt";
  g.setLineDash([]);
  g.beginPath();
  g.arc(x, y, radius, from, end, turn < 0);
  g.stroke();
  g.fillStyle = colour;
  g.beginPath();
  for (const p of [point(end, 0.75 * radius), point(end, 1.25 * radius), point(end + head, radius)]) g.lineTo(...p);
  g.fill();
}

export const WORLDS = { CartPole, Pendulum, Acrobot, MountainCarContinuous };
