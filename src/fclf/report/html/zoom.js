"use strict";
// Zoom for maps: wheel, two fingers, buttons and keys. Maps of a group move together, so that their limits stay the same.
(() => {
  const MOST = 64, groups = new Map();

  const ticks = (low, high) => {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high; k += 1) found.push(k * step);
    return found.map((value) => [value, String(Number(value.toPrecision(6)))]);
  };

  const svg = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  class Map_ {
    constructor(element) {
      this.element = element;
      this.view = element.querySelector(".view");
      this.marks = element.querySelector(".ticks");
      [this.x, this.y, this.w, this.h] = this.view.getAttribute("viewBox").split(" ").map(Number);
      this.limits = element.dataset.limits.split(" ").map(Number);
    }

    // A place on the screen as shares of the plot, from its upper left corner.
    place(event) {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.element.getScreenCTM().inverse());
      return [(point.x - this.x) / this.w, (point.y - this.y) / this.h];
    }

    show({ left, top, scale }) {
      const box = [this.x + left * this.w, this.y + top * this.h, this.w / scale, this.h / scale];
      this.view.setAttribute("viewBox", box.join(" "));
      this.element.classList.toggle("zoomed", scale > 1);
      const [x0, x1, y0, y1] = this.limits, right = left + 1 / scale, bottom = top + 1 / scale;
      const from = [x0 + left * (x1 - x0), y1 - bottom * (y1 - y0)], to = [x0 + right * (x1 - x0), y1 - top * (y1 - y0)];
      const low = this.y + this.h, drawn = [];
      for (const [value, text] of ticks(from[0], to[0])) {
        const at = this.x + (value - from[0]) / (to[0] - from[0]) * this.w;
        drawn.push(svg("path", { d: `M${at} ${low}v4` }), svg("text", { x: at, y: low + 15, "text-anchor": "middle" }, text));
      }
      for (const [value, text] of ticks(from[1], to[1])) {
        const at = low - (value - from[1]) / (to[1] - from[1]) * this.h;
        drawn.push(svg("path", { d: `M${this.x} ${at}h-4` }), svg("text", { x: this.x - 6, y: at + 3.5, "text-anchor": "end" }, text));
      }
      this.marks.replaceChildren(...drawn);
    }
  }

  class Group {
    constructor() {
      this.maps = [];
      this.state = { left: 0, top: 0, scale: 1 };
    }

    // Zoom by a factor so that the share (u, v) of the plot stays where it is.
    zoom(factor, u = 0.5, v = 0.5) {
      const { left, top, scale } = this.state, next = Math.min(MOST, Math.max(1, scale * factor));
      this.set(left + u / scale - u / next, top + v / scale - v / next, next);
    }

    move(du, dv) {
      const { left, top, scale } = this.state;
      this.set(left - du / scale, top - dv / scale, scale);
    }

    set(left, top, scale) {
      const most = 1 - 1 / scale, inside = (value) => Math.min(most, Math.max(0, value));
      this.state = { left: inside(left), top: inside(top), scale };
      for (const map of this.maps) map.show(this.state);
      this.said.textContent = scale > 1 ? `× ${scale.toPrecision(2)}` : "";
    }

    controls() {
      const bar = document.createElement("div");
      bar.className = "zoom";
      const actions = [["+", "Zoom in", () => this.zoom(1.6)], ["−", "Zoom out", () => this.zoom(1 / 1.6)], ["Reset", "Show everything", () => this.set(0, 0, 1)]];
      for (const [text, label, action] of actions) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.setAttribute("aria-label", label);
        button.addEventListener("click", action);
        bar.append(button);
      }
      this.said = document.createElement("span");
      this.said.setAttribute("role", "status");
      bar.append(this.said, "Click a map, then turn the wheel; or two fingers; or + − 0 and arrow keys.");
      return bar;
    }

    listen(map) {
      const element = map.element, fingers = new Map();
      element.addEventListener("wheel", (event) => {
        const active = event.ctrlKey || document.activeElement === element;
        if (!active || (event.deltaY > 0 && this.state.scale === 1)) return; // the page scrolls
        event.preventDefault();
        this.zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY)) / 250), ...map.place(event));
      }, { passive: false });
      element.addEventListener("pointerdown", (event) => {
        element.focus({ preventScroll: true });
        fingers.set(event.pointerId, map.place(event));
        if (this.state.scale > 1 || fingers.size > 1) element.setPointerCapture(event.pointerId);
      });
      element.addEventListener("pointermove", (event) => {
        const before = fingers.get(event.pointerId);
        if (!before) return;
        const now = map.place(event);
        const other = [...fingers].find(([id]) => id !== event.pointerId);
        fingers.set(event.pointerId, now);
        if (other) {
          const apart = (place) => Math.hypot(place[0] - other[1][0], place[1] - other[1][1]);
          this.zoom(apart(now) / Math.max(apart(before), 1e-6), (now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2);
        } else if (this.state.scale > 1) {
          this.move(now[0] - before[0], now[1] - before[1]);
        }
      });
      for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => fingers.delete(event.pointerId));
      element.addEventListener("dblclick", () => this.set(0, 0, 1));
      const keys = {
        "+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), "0": () => this.set(0, 0, 1),
        ArrowLeft: () => this.move(0.15, 0), ArrowRight: () => this.move(-0.15, 0), ArrowUp: () => this.move(0, 0.15), ArrowDown: () => this.move(0, -0.15),
      };
      element.addEventListener("keydown", (event) => {
        const action = keys[event.key];
        if (!action || event.ctrlKey || event.metaKey || event.altKey || (event.key.startsWith("Arrow") && this.state.scale === 1)) return;
        event.preventDefault();
        action();
      });
    }
  }

  for (const element of document.querySelectorAll(".map")) {
    const name = element.dataset.group, map = new Map_(element);
    if (!groups.has(name)) groups.set(name, new Group());
    const group = groups.get(name);
    if (!group.maps.length) element.closest(".pair").before(group.controls());
    group.maps.push(map);
    group.listen(map);
  }
})();
