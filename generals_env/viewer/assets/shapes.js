// Shapes of the tiles in a unit square: crowns, castles, mountains, swamps, deserts, lookouts and observatories.

// Terrain codes of the engine.
export const PLAIN = 0;
export const GENERAL = 1;
export const CITY = 2;
export const SWAMP = 4;
export const DESERT = 5;
export const LOOKOUT = 6;
export const OBSERVATORY = 7;

// Summit, left foot and right foot of two peaks a variant, the one in front last.
const RANGES = [
  [[0.68, 0.36, 0.40, 0.96], [0.37, 0.14, 0.05, 0.70]],
  [[0.30, 0.40, 0.05, 0.60], [0.61, 0.16, 0.27, 0.95]],
  [[0.76, 0.46, 0.50, 0.96], [0.46, 0.20, 0.06, 0.82]],
  [[0.24, 0.48, 0.04, 0.48], [0.55, 0.13, 0.20, 0.93]],
];
const FOOT = 0.84;

export const MOUNTAIN_VARIANTS = RANGES.length;

function fill(context, color, points) {
  context.fillStyle = color;
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fill();
}

function disc(context, color, x, y, radius) {
  context.fillStyle = color;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

export function drawCrown(context, ink, band) {
  context.lineJoin = "round";
  fill(context, ink, [[0.24, 0.45], [0.17, 0.17], [0.36, 0.29], [0.5, 0.09], [0.64, 0.29], [0.83, 0.17], [0.76, 0.45]]);
  for (const [x, y] of [[0.17, 0.15], [0.5, 0.08], [0.83, 0.15]]) disc(context, ink, x, y, 0.052);
  context.fillStyle = band;
  context.fillRect(0.26, 0.375, 0.48, 0.032);
}

export function drawCastle(context, ink, gate) {
  fill(context, ink, [
    [0.2, 0.46], [0.2, 0.1], [0.32, 0.1], [0.32, 0.18], [0.44, 0.18], [0.44, 0.1], [0.56, 0.1],
    [0.56, 0.18], [0.68, 0.18], [0.68, 0.1], [0.8, 0.1], [0.8, 0.46],
  ]);
  context.fillStyle = gate;
  context.fillRect(0.43, 0.35, 0.14, 0.11);
  disc(context, gate, 0.5, 0.35, 0.07);
}

export function drawMountain(context, variant, stone, shade, snow) {
  for (const [x, top, left, right] of RANGES[variant]) {
    const height = FOOT - top, foot = x + (right - x) * 0.3;
    const toLeft = (share) => [x + (left - x) * share, top + height * share];
    const toRight = (share) => [x + (right - x) * share, top + height * share];
    fill(context, stone, [[x, top], [left, FOOT], [right, FOOT]]);
    if (shade) fill(context, shade, [[x, top], [foot, FOOT], [right, FOOT]]);
    if (snow) {
      const tooth = (share, down) => [x + (foot - x) * share, top + height * down];
      fill(context, snow, [[x, top], toLeft(0.38), tooth(-0.15, 0.28), tooth(0.4, 0.42), tooth(0.7, 0.27), toRight(0.36)]);
    }
  }
}

function stroke(context, color, width, trace) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.lineCap = "round";
  context.beginPath();
  trace();
  context.stroke();
}

export function drawSwamp(context, ink) {
  for (const [left, y] of [[0.14, 0.24], [0.3, 0.5], [0.14, 0.76]]) {
    stroke(context, ink, 0.055, () => {
      context.moveTo(left, y);
      context.bezierCurveTo(left + 0.12, y - 0.14, left + 0.16, y - 0.14, left + 0.28, y);
      context.bezierCurveTo(left + 0.4, y + 0.14, left + 0.44, y + 0.14, left + 0.56, y);
    });
  }
}

export function drawDesert(context, ink) {
  for (const [left, y] of [[0.1, 0.36], [0.44, 0.6], [0.12, 0.86]]) {
    stroke(context, ink, 0.05, () => {
      context.moveTo(left, y);
      context.quadraticCurveTo(left + 0.2, y - 0.26, left + 0.44, y);
    });
  }
  disc(context, ink, 0.78, 0.24, 0.06);
}

export function drawLookout(context, stone, light) {
  fill(context, stone, [
    [0.34, 0.88], [0.4, 0.44], [0.27, 0.44], [0.27, 0.24], [0.73, 0.24], [0.73, 0.44], [0.6, 0.44], [0.66, 0.88],
  ]);
  fill(context, stone, [[0.2, 0.24], [0.5, 0.06], [0.8, 0.24]]);
  context.fillStyle = light;
  for (const x of [0.35, 0.54]) context.fillRect(x, 0.29, 0.11, 0.1);
}

export function drawObservatory(context, stone, light) {
  stroke(context, stone, 0.11, () => {
    context.moveTo(0.5, 0.5);
    context.lineTo(0.84, 0.16);
  });
  context.fillStyle = stone;
  context.beginPath();
  context.arc(0.5, 0.56, 0.31, Math.PI, 0);
  context.fill();
  context.fillRect(0.19, 0.6, 0.62, 0.27);
  context.fillStyle = light;
  context.fillRect(0.43, 0.68, 0.14, 0.19);
}
