"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const make = (tag, text, kind) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const human = (bytes) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
    return `${unit && bytes < 100 ? Number(bytes.toPrecision(3)) : Math.round(bytes)} ${units[unit]}`;
  };
  const colour = (layer) => layer === undefined ? "hsl(210 8% 55%)" : `hsl(${(layer * 137.5 + 205) % 360} 52% 52%)`;
  const row = (cells, numbers) => {
    const line = make("tr");
    cells.forEach((cell, at) => line.append(make("td", cell, at < numbers ? "number" : "")));
    return line;
  };

  by("name").textContent = data.name;
  by("id").textContent = data.id;
  const figures = [
    ["Stored", human(data.total)],
    ["Seen", human(data.seen)],
    ["Efficiency", `${(data.efficiency * 100).toFixed(1)} %`],
    ["Wasted", human(data.wasted)],
    ["Hidden", human(data.hidden)],
    ["Layers", data.layers.length],
    ["Files", data.files.toLocaleString("en")],
  ];
  for (const [name, value] of figures) {
    const box = make("div");
    box.append(make("dt", name), make("dd", value));
    by("figures").append(box);
  }
  data.layers.forEach((layer, at) => {
    by("layers").tBodies[0].append(row([at, human(layer.bytes), layer.added, layer.changed, layer.removed, layer.command || layer.digest], 5));
    const item = make("li");
    const patch = make("canvas");
    patch.width = patch.height = 8;
    const paint = patch.getContext("2d");
    paint.fillStyle = colour(at);
    paint.fillRect(0, 0, 8, 8);
    item.append(patch, `layer ${at}`);
    by("legend").append(item);
  });
  for (const one of data.waste) by("waste").tBodies[0].append(row([one.count, human(one.bytes), human(one.hidden), one.path], 3));
  if (!data.waste.length) by("waste").tBodies[0].append(row(["", "", "", "nothing"], 3));

  // The map.
  const label = (node) => node.m ? `${node.m} smaller files` : node.n;
  const canvas = by("map");
  const trail = [data.tree];
  let boxes = [];
  // The rows of squares of a squarified map.
  const divide = (nodes, x, y, width, height) => {
    const list = nodes.filter((node) => node.s > 0).sort((a, b) => b.s - a.s);
    let rest = list.reduce((sum, node) => sum + node.s, 0);
    const placed = [];
    let at = 0;
    while (at < list.length && width > 0.5 && height > 0.5) {
      const side = Math.min(width, height);
      const scale = (width * height) / rest;
      const worst = (sum, least, most) => Math.max((side * side * most) / (sum * sum * scale), (sum * sum * scale) / (side * side * least));
      let sum = list[at].s;
      let end = at + 1;
      while (end < list.length && worst(sum + list[end].s, list[end].s, list[at].s) <= worst(sum, list[end - 1].s, list[at].s)) {
        sum += list[end].s;
        end += 1;
      }
      const thick = (sum * scale) / side;
      let along = 0;
      for (; at < end; at += 1) {
        const long = (list[at].s / sum) * side;
        placed.push(width >= height ? [list[at], x, y + along, thick, long] : [list[at], x + along, y, long, thick]);
        along += long;
      }
      if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
      rest -= sum;
    }
    return placed;
  };
  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    paint.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.body);
    const [back, text] = [style.backgroundColor, style.color];
    boxes = [];
    const write = (words, x, y, room, ink) => {
      if (room < 34) return;
      paint.fillStyle = ink;
      paint.font = "12px system-ui, sans-serif";
      while (words.length > 2 && paint.measureText(words).width > room - 8) words = `${words.slice(0, -2).replace(/…$/, "")}…`;
      paint.fillText(words, x + 4, y + 12);
    };
    const inside = (node, x, y, w, h, depth, path) => {
      for (const [child, cx, cy, cw, ch] of divide(node.c, x, y, w, h)) {
        if (cw < 1 || ch < 1) continue;
        const here = [...path, child];
        boxes.push([cx, cy, cw, ch, here]);
        if (child.c) {
          paint.strokeStyle = text;
          paint.globalAlpha = 0.35;
          paint.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
          paint.globalAlpha = 1;
          if (ch > 32 && cw > 32 && depth < 6) {
            write(`${child.n}  ${human(child.s)}`, cx, cy + 1, cw, text);
            // A directory that is nearly all of the one it is in is no step.
            const step = child.s > 0.9 * node.s ? 0 : 1;
            inside(child, cx + 2, cy + 16, cw - 4, ch - 18, depth + step, here);
          } else {
            paint.fillStyle = colour();
            paint.fillRect(cx + 1, cy + 1, cw - 2, ch - 2);
            if (ch > 16) write(child.n, cx, cy + 1, cw, "#fff");
          }
        } else {
          paint.fillStyle = colour(child.l);
          paint.fillRect(cx, cy, cw, ch);
          paint.strokeStyle = back;
          paint.strokeRect(cx + 0.5, cy + 0.5, cw - 1, ch - 1);
          if (ch > 16) write(label(child), cx, cy + 1, cw, "#fff");
        }
      }
    };
    inside(trail[trail.length - 1], 0, 0, width, height, 0, []);
    const nav = by("trail");
    nav.replaceChildren();
    trail.forEach((node, at) => {
      const step = make("button", at ? node.n : "/");
      step.addEventListener("click", () => { trail.length = at + 1; draw(); });
      if (at > 1) nav.append("/");
      nav.append(step);
    });
    nav.append(` ${human(trail[trail.length - 1].s)}`);
  };
  const under = (event) => {
    const frame = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    // What is drawn later lies further within.
    return boxes.findLast(([bx, by_, bw, bh]) => x >= bx && x < bx + bw && y >= by_ && y < by_ + bh);
  };
  const path = (nodes) => `/${[...trail.slice(1), ...nodes].map(label).join("/")}`;
  canvas.addEventListener("mousemove", (event) => {
    const box = under(event);
    if (!box) { by("under").textContent = ""; return; }
    const node = box[4][box[4].length - 1];
    const from = node.l === undefined ? "" : `, layer ${node.l}`;
    by("under").textContent = `${path(box[4])}: ${human(node.s)} (${(100 * node.s / Math.max(1, data.seen)).toFixed(1)} %)${from}`;
  });
  canvas.addEventListener("mouseleave", () => { by("under").textContent = ""; });
  canvas.addEventListener("click", (event) => {
    const box = under(event);
    if (!box) return;
    const directories = box[4].filter((node) => node.c);
    // Through directories with nearly nothing beside them at once.
    for (let at = 0; at < directories.length; at += 1) {
      if (at && directories[at].s < 0.9 * directories[at - 1].s) break;
      trail.push(directories[at]);
    }
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    if ((event.key === "Escape" || event.key === "Backspace") && trail.length > 1) { trail.pop(); draw(); event.preventDefault(); }
    if (event.key === "Enter") {
      const largest = trail[trail.length - 1].c.filter((node) => node.c).sort((a, b) => b.s - a.s)[0];
      if (largest) { trail.push(largest); draw(); }
    }
  });
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();

  // The table of files.
  const files = [];
  const waiting = [[data.tree, ""]];
  while (waiting.length) {
    const [node, prefix] = waiting.pop();
    for (const child of node.c || []) {
      const full = `${prefix}/${label(child)}`;
      if (child.c) waiting.push([child, full]); else files.push({ p: full, s: child.s, l: child.l, m: child.m || 1 });
    }
  }
  let [order, down, limit] = ["s", true, 100];
  const list = () => {
    const wanted = by("search").value.toLowerCase();
    const found = files.filter((file) => file.p.toLowerCase().includes(wanted));
    const value = (file) => file[order] ?? -1;
    found.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1));
    const count = found.reduce((sum, file) => sum + file.m, 0);
    by("found").textContent = `${count.toLocaleString("en")} ${count === 1 ? "file" : "files"}`;
    by("files").tBodies[0].replaceChildren(...found.slice(0, limit).map((file) => row([human(file.s), file.l ?? "", file.p], 2)));
    by("more").hidden = found.length <= limit;
  };
  by("search").addEventListener("input", () => { limit = 100; list(); });
  by("more").addEventListener("click", () => { limit *= 4; list(); });
  for (const head of by("files").tHead.querySelectorAll("button")) {
    head.addEventListener("click", () => {
      down = order === head.dataset.by ? !down : head.dataset.by === "s";
      order = head.dataset.by;
      list();
    });
  }
  list();
})();
