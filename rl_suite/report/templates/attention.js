// Shows attention.json: the timeline of a context, and what the chosen step of it looked at.
(() => {
  const data = document.getElementById("attention-data");
  if (!data) return;
  const context = JSON.parse(data.textContent), n = context.seen.length;
  const bytes = Uint8Array.from(atob(context.weights), (letter) => letter.charCodeAt(0));
  const canvas = document.querySelector("#attention canvas"), pen = canvas.getContext("2d");
  const [layer, head, row, kept] = ["layer", "head", "row", "kept"].map((name) => document.getElementById(`attention-${name}`));
  const said = document.getElementById("looked");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  for (let i = 0; i < context.layers; i += 1) layer.add(new Option(`${i + 1}`, i));
  head.add(new Option("mean of all", -1));
  for (let i = 0; i < context.heads; i += 1) head.add(new Option(`${i + 1}`, i));
  layer.value = context.layers - 1;
  row.max = context.rows.length - 1;
  row.value = row.max;
  kept.max = n;
  kept.value = n;
  let pointed = null;

  // Weights of one row, adding up to 1: bytes are proportional to the roots of weights.
  function weights(l, h, r) {
    const start = ((l * context.heads + h) * context.rows.length + r) * n;
    const squares = Array.from(bytes.subarray(start, start + n), (value) => value * value);
    const sum = squares.reduce((a, b) => a + b, 0) || 1;
    return squares.map((value) => value / sum);
  }
  function chosen() {
    const l = Number(layer.value), h = Number(head.value), r = Number(row.value);
    if (h >= 0) return weights(l, h, r);
    const mean = new Array(n).fill(0);
    for (let i = 0; i < context.heads; i += 1) weights(l, i, r).forEach((value, t) => { mean[t] += value / context.heads; });
    return mean;
  }
  function show() {
    const step = context.rows[Number(row.value)], w = chosen(), top = Math.max(...w), width = canvas.width / n;
    const order = [...w.keys()].slice(0, step + 1).sort((a, b) => w[b] - w[a]);
    const stays = new Set(order.slice(0, Number(kept.value)));
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (let t = 0; t < n; t += 1) {
      pen.globalAlpha = t > step ? 0.15 : 1;
      pen.fillStyle = context.rewards[t] > 0 ? colour("good") : context.rewards[t] < 0 ? colour("bad") : colour("line");
      pen.fillRect(t * width, 150, Math.max(1, width - 0.5), 16);
      if (context.first[t]) {
        pen.fillStyle = colour("quiet");
        pen.fillRect(t * width, 144, 1, 28);
      }
      if (t > step) continue;
      pen.globalAlpha = stays.has(t) ? 1 : 0.25;
      pen.fillStyle = colour("own");
      const height = 136 * w[t] / (top || 1);
      pen.fillRect(t * width, 140 - height, Math.max(1, width - 0.5), height);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour("ink");
    pen.fillRect(step * width, 174, Math.max(2, width), 6);
    const mass = order.slice(0, Number(kept.value)).reduce((sum, t) => sum + w[t], 0);
    const paid = context.rewards.reduce((sum, reward, t) => sum + (t <= step && reward !== 0 ? w[t] : 0), 0);
    let text = `Step ${step} (saw ${context.seen[step]}): ${(100 * paid).toFixed(0)} % of its attention is on steps that came with a reward; ` +
      `the ${Math.min(step + 1, kept.value)} steps that would stay hold ${(100 * mass).toFixed(0)} % of it.`;
    if (pointed !== null && pointed <= step) {
      text += ` Step ${pointed} (saw ${context.seen[pointed]}, reward ${context.rewards[pointed]}): weight ${w[pointed].toFixed(4)}.`;
    }
    said.textContent = text;
  }
  for (const control of [layer, head, row, kept]) control.addEventListener("input", show);
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    pointed = Math.max(0, Math.min(n - 1, Math.floor((event.clientX - box.left) / box.width * n)));
    show();
  });
  canvas.addEventListener("pointerleave", () => { pointed = null; show(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
})();
