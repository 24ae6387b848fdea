// Plays the numbers of replay.json: a colony on its field, an agent in its room, or few-shot episodes.
(() => {
  const data = document.getElementById("replay-data");
  if (!data) return;
  const replay = JSON.parse(data.textContent);
  const canvas = document.querySelector("#replay canvas"), pen = canvas.getContext("2d");
  const scrub = document.getElementById("scrub"), play = document.getElementById("play");
  const speed = document.getElementById("speed"), said = document.getElementById("moment");
  // A narrow phone gets a tall canvas, so that the dish is not tiny.
  if (window.innerWidth < 520) { canvas.width = 600; canvas.height = 760; }
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const scene = { colony, room, few_shot: fewShot }[replay.kind](replay);
  let step = 0, timer = null, pointer = null;
  scrub.max = scene.length - 1;

  function show(next) {
    step = Math.max(0, Math.min(scene.length - 1, next));
    scrub.value = step;
    scrub.setAttribute("aria-valuetext", `step ${step}`);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    said.textContent = scene.draw(step, pointer);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
  }
  function start() {
    if (step === scene.length - 1) show(0);
    play.textContent = "pause";
    timer = setInterval(() => (step + 1 < scene.length ? show(step + 1) : stop()), 1000 / speed.value);
  }
  play.addEventListener("click", () => (timer ? stop() : start()));
  speed.addEventListener("change", () => { if (timer) { stop(); start(); } });
  scrub.addEventListener("input", () => { stop(); show(Number(scrub.value)); });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (event.key === " ") play.click();
    else if (move) { stop(); show(step + move); }
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    pointer = [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
    show(step);
  });
  canvas.addEventListener("pointerleave", () => { pointer = null; show(step); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(step));
  show(0);

  function colony(replay) {
    const side = Math.min(canvas.width, canvas.height), ground = field(replay.field);
    // The whole dish, and beside or above it a lens that follows the colony.
    const dish = { x: side / 2, y: canvas.height - side / 2, radius: side / 2 - 8 };
    const lens = { x: canvas.width - 104, y: 104, radius: 96 };
    return { length: replay.moments.length, draw };

    function draw(step, pointer) {
      const moment = replay.moments[step];
      const whole = view(dish, 0, 0, replay.radius);
      const x0 = Math.min(...moment.x), x1 = Math.max(...moment.x), y0 = Math.min(...moment.y), y1 = Math.max(...moment.y);
      const near = view(lens, (x0 + x1) / 2, (y0 + y1) / 2, 0.65 * Math.max(x1 - x0, y1 - y0, replay.radius / 20));
      let under = paint(whole, moment, 2.5, pointer);
      const closer = moment.x.length ? paint(near, moment, 4, pointer) : -1;
      pen.strokeStyle = colour("quiet");
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(lens.x, lens.y, lens.radius, 0, 7);
      pen.stroke();
      if (closer >= 0) under = closer;
      const looked = weighed(moment, under);
      if (under >= 0) {
        return `node ${under}: ${moment.kpa[under].toFixed(2)} kPa under it, ${moment.age[under]} steps old, ` +
          ["no mark", "marked to be kept", "marked for deletion"][moment.mark[under]] + looked;
      }
      return `step ${step}: ${moment.x.length} nodes, durotactic index ${moment.index.toFixed(2)}, ` +
        `reward ${moment.reward.toFixed(2)}; strong colour is stiff (${replay.kpa.map((v) => v.toFixed(1)).join(" to ")} kPa), ` +
        `the goal lies beyond the dashed line; the lens follows the colony; hover over a node${looked}`;
    }
    // How much each pre-trained model counts, of one node or on average over all: bars in the corner, and as text.
    function weighed(moment, node) {
      if (!moment.looks.length) return "";
      const own = node >= 0 && moment.looks.length > 1 ? [moment.looks[node]] : moment.looks;
      const shares = replay.models.map((_, m) => own.reduce((sum, row) => sum + row[m] / own.length, 0));
      pen.font = "13px system-ui, sans-serif";
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      const wide = canvas.width > canvas.height;  // below the lens, or beside it
      const [left, top] = wide ? [lens.x - lens.radius, lens.y + lens.radius + 30] : [4, 14];
      replay.models.forEach((name, m) => {
        const y = top + 20 * m;
        pen.fillStyle = colour("line");
        pen.fillRect(left, y - 6, 60, 12);
        pen.fillStyle = colour("own");
        pen.fillRect(left, y - 6, 60 * shares[m], 12);
        pen.fillStyle = colour("ink");
        pen.fillText(name, left + 66, y);
      });
      return `; it weighs ${replay.models.map((name, m) => `${name} ${(100 * shares[m]).toFixed(0)} %`).join(", ")}`;
    }
    // A round window onto the world: where it is on the canvas, what lies in its middle, and how much it shows.
    function view(window, x, y, half) {
      const scale = window.radius / half;
      return { ...window, scale, at: (px, py) => [window.x + scale * (px - x), window.y - scale * (py - y)] };
    }
    // Returns the node under the pointer, or -1.
    function paint(view, moment, size, pointer) {
      pen.save();
      pen.beginPath();
      pen.arc(view.x, view.y, view.radius, 0, 7);
      pen.clip();
      pen.fillStyle = colour("paper");
      pen.fill();
      const [left, top] = view.at(-replay.radius, replay.radius), width = 2 * view.scale * replay.radius;
      pen.drawImage(ground, left, top, width, width);
      goal(view);
      pen.strokeStyle = colour("quiet");
      pen.lineWidth = 1;
      pen.beginPath();
      for (let i = 0; i < moment.edges.length; i += 2) {
        pen.moveTo(...view.at(moment.x[moment.edges[i]], moment.y[moment.edges[i]]));
        pen.lineTo(...view.at(moment.x[moment.edges[i + 1]], moment.y[moment.edges[i + 1]]));
      }
      pen.stroke();
      const inside = pointer && Math.hypot(pointer[0] - view.x, pointer[1] - view.y) < view.radius;
      const colours = ["ink", "own", "bad"].map(colour);
      let under = -1, best = 10;
      moment.x.forEach((x, i) => {
        const [px, py] = view.at(x, moment.y[i]);
        pen.fillStyle = colours[moment.mark[i]];
        pen.beginPath();
        pen.arc(px, py, size, 0, 7);
        pen.fill();
        const distance = inside ? Math.hypot(px - pointer[0], py - pointer[1]) : Infinity;
        if (distance < best) { best = distance; under = i; }
      });
      if (under >= 0) {
        pen.strokeStyle = colour("own");
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(...view.at(moment.x[under], moment.y[under]), size + 4, 0, 7);
        pen.stroke();
      }
      pen.restore();
      return under;
    }
    function goal(view) {
      const [ux, uy] = replay.up, half = Math.sqrt(Math.max(0, replay.radius ** 2 - replay.goal ** 2));
      pen.strokeStyle = colour("open");
      pen.setLineDash([6, 5]);
      pen.lineWidth = 2;
      pen.beginPath();
      pen.moveTo(...view.at(replay.goal * ux - half * uy, replay.goal * uy + half * ux));
      pen.lineTo(...view.at(replay.goal * ux + half * uy, replay.goal * uy - half * ux));
      pen.stroke();
      pen.setLineDash([]);
    }
    function field(rows) {
      const image = document.createElement("canvas");
      image.height = rows.length;
      image.width = Math.max(1, ...rows.map((row) => row.length));
      const pixels = image.getContext("2d"), buffer = pixels.createImageData(image.width, image.height);
      rows.forEach((row, r) => row.forEach((value, c) => {
        buffer.data.set([204, 121, 167, 20 + 0.8 * value], 4 * (r * image.width + c));
      }));
      pixels.putImageData(buffer, 0, 0);
      return image;
    }
  }

  function room(replay) {
    const side = Math.min(canvas.width, canvas.height) - 16, cell = side / replay.size;
    const left = (canvas.width - side) / 2, top = (canvas.height - side) / 2;
    const middle = (number) => [left + cell * (number % replay.size + 0.5), top + cell * (Math.floor(number / replay.size) + 0.5)];
    return { length: replay.cells.length, draw };

    function draw(step, pointer) {
      const episode = replay.episodes[step];
      let first = step;
      while (first > 0 && replay.episodes[first - 1] === episode) first -= 1;
      const visits = new Array(replay.size ** 2).fill(0);
      for (let t = first; t <= step; t += 1) visits[replay.cells[t]] += 1;
      for (let number = 0; number < visits.length; number += 1) {
        const [x, y] = middle(number);
        pen.fillStyle = colour("panel");
        pen.globalAlpha = 1;
        pen.fillRect(x - cell / 2 + 1, y - cell / 2 + 1, cell - 2, cell - 2);
        pen.fillStyle = colour("own");
        pen.globalAlpha = Math.min(0.6, 0.12 * visits[number]);
        pen.fillRect(x - cell / 2 + 1, y - cell / 2 + 1, cell - 2, cell - 2);
      }
      pen.globalAlpha = 1;
      pen.font = `600 ${Math.round(cell / 2)}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillStyle = colour("open");
      for (const [letter, number] of replay.landmarks) pen.fillText(letter, ...middle(number));
      pen.fillStyle = replay.rewards[step] > 0 ? colour("good") : colour("ink");
      pen.beginPath();
      pen.arc(...middle(replay.cells[step]), cell * 0.28, 0, 7);
      pen.fill();
      const sums = [];
      replay.rewards.slice(0, step + 1).forEach((reward, t) => { sums[replay.episodes[t]] = (sums[replay.episodes[t]] || 0) + reward; });
      let text = `step ${step}, episode ${episode + 1}: return ${sums[episode].toFixed(0)}`;
      if (sums.length > 1) text += `; episodes before: ${sums.slice(Math.max(0, episode - 12), episode).map((sum) => sum.toFixed(0)).join(", ")}`;
      if (pointer) {
        const column = Math.floor((pointer[0] - left) / cell), row = Math.floor((pointer[1] - top) / cell);
        if (row >= 0 && row < replay.size && column >= 0 && column < replay.size) {
          text += `; cell (${row}, ${column}): ${visits[row * replay.size + column]} visits`;
        }
      }
      return `${text}; the letter is what the agent cannot see`;
    }
  }

  // The classes that were given above, each with a bar of how much it was believed; what was asked below.
  function fewShot(replay) {
    const asked = replay.episodes.flatMap((episode, e) => episode.questions.map((question, q) => ({ episode, e, question, q })));
    const pictures = new Map();
    return { length: asked.length, draw };

    function draw(step) {
      const { episode, e, question, q } = asked[step], n = episode.given.length;
      const chosen = question.shares.indexOf(Math.max(...question.shares));
      const columns = Math.min(n, canvas.width < 700 ? 5 : 10), rows = Math.ceil(n / columns);
      const cell = Math.min(canvas.width / columns, (canvas.height - 200) / rows), side = 0.62 * cell, bar = 0.2 * cell;
      const left = (canvas.width - columns * cell) / 2;
      pen.font = `${Math.max(11, Math.round(cell / 9))}px system-ui, sans-serif`;
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      episode.given.forEach((picture, c) => {
        const x = left + cell * (c % columns) + (cell - side) / 2, y = cell * Math.floor(c / columns) + bar + 4;
        const frame = c === question.label ? "good" : c === chosen ? "bad" : "quiet";
        paint(picture, x, y, side, frame, c === question.label || c === chosen ? 4 : 1.5);
        pen.fillStyle = colour("own");
        pen.fillRect(x, y - 5 - bar * question.shares[c], side, bar * question.shares[c]);
        pen.fillStyle = colour("ink");
        pen.fillText(c + 1, x + side / 2, y + side + 0.08 * cell);
      });
      const below = rows * cell + 12, large = Math.min(300, canvas.height - below - 8);
      paint(question.picture, (canvas.width - large) / 2, below, large, chosen === question.label ? "good" : "bad", 4);
      const before = episode.questions.slice(0, q + 1);
      const right = before.filter((o) => o.shares.indexOf(Math.max(...o.shares)) === o.label).length;
      return `episode ${e + 1}, question ${q + 1}: it shows class ${question.label + 1}; the answer is ${chosen + 1}` +
        `, believed to ${Math.round(100 * question.shares[chosen])} %, and is ${chosen === question.label ? "right" : "wrong"}; ` +
        `so far ${right} of ${q + 1} right. Above: what was given of each class, bars say how much each is believed`;
    }
    function paint(picture, x, y, side, frame, width) {
      if (!pictures.has(picture)) pictures.set(picture, unpacked(picture));
      pen.imageSmoothingEnabled = false;
      pen.drawImage(pictures.get(picture), x, y, side, side);
      pen.strokeStyle = colour(frame);
      pen.lineWidth = width;
      pen.strokeRect(x, y, side, side);
    }
    function unpacked(picture) {
      const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
      const image = document.createElement("canvas");
      image.width = image.height = replay.size;
      const pixels = image.getContext("2d"), buffer = pixels.createImageData(replay.size, replay.size);
      for (let i = 0; i < replay.size ** 2; i += 1) {
        for (let c = 0; c < 3; c += 1) buffer.data[4 * i + c] = bytes[replay.channels === 3 ? 3 * i + c : i];
        buffer.data[4 * i + 3] = 255;
      }
      pixels.putImageData(buffer, 0, 0);
      return image;
    }
  }
})();
