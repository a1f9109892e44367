"use strict";
// One state, kept in the address; one request at a time for what it asks; the page is drawn from the last answer.
(() => {
  const API = "/api/v1", QUICK = 40, PATIENCE = 3, MANY = 12;
  const $ = (id) => document.getElementById(id);
  const make = (name, options = {}, ...children) => {
    const { data, ...properties } = options, made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) key in made ? (made[key] = value) : made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const percent = (p) => (p === null ? "–" : p > 0.995 ? ">\u00a099\u00a0%" : p < 0.005 ? "<\u00a01\u00a0%" : `${Math.round(100 * p)}\u00a0%`);
  // Signs that turn the order of what follows, or break lines, are shown as what they are: a name may hold any.
  const seen = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const words = (name) => seen(name).replaceAll("_", " ");
  // An object without a prototype: attributes may be called "constructor" or "__proto__".
  const names = (set = {}) => Object.assign(Object.create(null), set);
  const shown = (value) => value.toFixed(2);

  let about = null, person = null, last = null;
  let state = { person: null, set: names(), strength: 1, keep: null };

  // The token comes in the fragment, which is sent nowhere, and leaves the address at once.
  const takeToken = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    if (!given.has("token")) return;
    sessionStorage.setItem("token", given.get("token"));
    given.delete("token");
    history.replaceState(null, "", `#${given}`);
  };

  // ---- asking

  class Refused extends Error {
    constructor(status, detail, after) { super(detail); this.status = status; this.after = after; }
  }

  const ask = async (path, options = {}) => {
    const token = sessionStorage.getItem("token"), headers = { ...(options.headers ?? {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await fetch(API + path, { ...options, headers, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The server does not answer. Is it still running? Start it again with fclf serve, then try once more.");
    }
    if (answer.ok) return answer.json();
    let detail = `The server answered ${answer.status}.`;
    try { detail = (await answer.json()).detail; } catch { /* no words came along */ }
    throw new Refused(answer.status, detail, Number(answer.headers.get("Retry-After")) || 1);
  };

  const asking = { token: () => new Promise((resolve) => {
    const dialog = $("ask");
    $("ask-error").hidden = !sessionStorage.getItem("token");
    $("token").value = "";
    $("ask-form").onsubmit = () => { sessionStorage.setItem("token", $("token").value.trim()); };
    dialog.onclose = () => resolve();
    if (!dialog.open) dialog.showModal();
  }) };

  const askWithToken = async (path, options) => {
    for (;;) {
      try {
        return await ask(path, options);
      } catch (error) {
        if (error.status !== 401) throw error;
        await asking.token();
      }
    }
  };

  const busy = (now) => {
    for (const id of ["stage", "details"]) $(id).classList.toggle("busy", now);
    $("result").setAttribute("aria-busy", String(now));
  };

  let complaint = null; // of what: an edit that succeeds has nothing to say about a search that did not
  const wrong = (error, of = "") => {
    if (error?.name === "AbortError") return;
    complaint = of;
    $("error").textContent = seen(error instanceof Refused ? error.message : `Something went wrong on this page: ${error.message}`);
    $("error").hidden = false;
    busy(false);
  };
  const right = (of = complaint) => { if (of === complaint) $("error").hidden = true; };

  // ---- the address

  const apart = (name) => name.replace(/[%,]/g, encodeURIComponent); // in a list with commas
  const together = (text) => { try { return decodeURIComponent(text); } catch { return text; } };

  const written = () => {
    const parts = new URLSearchParams();
    if (state.person !== null) parts.set("person", state.person);
    const set = Object.entries(state.set).map(([name, value]) => `${apart(name)}:${value}`).join(",");
    if (set) parts.set("set", set);
    if (state.strength !== 1) parts.set("strength", String(state.strength));
    if (state.keep !== null && state.keep !== about.keep) parts.set("keep", String(state.keep));
    return `#${parts}`;
  };

  const remember = (anew) => {
    const address = written();
    if (address === location.hash) return;
    history[anew ? "pushState" : "replaceState"](null, "", address);
  };

  const within = (text, low, high, otherwise) => {
    const value = text === null || text === "" ? NaN : Number(text);
    return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
  };

  const read = () => {
    const parts = new URLSearchParams(location.hash.slice(1)), set = names(), known = new Set(about.attributes.map((one) => one.name));
    for (const part of (parts.get("set") ?? "").split(",")) {
      const [name, value] = [together(part.slice(0, part.lastIndexOf(":"))), part.slice(part.lastIndexOf(":") + 1)];
      if (known.has(name) && (value === "0" || value === "1")) set[name] = Number(value);
    }
    state = {
      person: parts.get("person"), set,
      strength: within(parts.get("strength"), 0, Number($("strength").max), 1),
      keep: about.keep === null ? null : within(parts.get("keep"), 0, 1, about.keep),
    };
  };

  // ---- the edit: at most one request under way for the newest state; one that is overtaken is called off

  let timer = null, sent = 0, took = 60, number = 0, under = null;

  const edit = (soon = false) => {
    clearTimeout(timer);
    if (person === null) return;
    const wait = soon ? 0 : Math.max(QUICK, Math.min(400, 1.2 * took) - (performance.now() - sent));
    timer = setTimeout(send, wait);
  };

  const send = async (tries = 0) => {
    under?.abort();
    const mine = ++number, control = (under = new AbortController());
    const begun = (sent = performance.now());
    busy(true);
    try {
      const body = JSON.stringify({ people: [state.person], set: state.set, strength: state.strength, keep: state.keep === about.keep ? null : state.keep });
      const answer = await askWithToken("/edit", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal: control.signal });
      if (mine !== number) return;
      draw(answer.results[0]);
      right("edit");
      took = performance.now() - begun;
      performance.measure("fclf-edit", { start: begun, end: performance.now() });
      $("numbers").textContent = `${last.angle.toFixed(1)}° on the sphere · answered in ${Math.round(took)} ms, ${Math.round(answer.milliseconds)} ms of it computing`;
    } catch (error) {
      if (mine !== number || error.name === "AbortError") return;
      if (error.status === 503 && tries < PATIENCE) {
        timer = setTimeout(() => send(tries + 1), 1000 * error.after);
        return;
      }
      wrong(error, "edit");
    } finally {
      if (mine === number) busy(false);
    }
  };

  // ---- drawing

  const figure = (kind, title, picture, alt, caption) => make("figure", { className: kind },
    picture ? make("img", { src: picture, alt }) : make("div", { className: "blank" }, alt),
    make("figcaption", {}, make("strong", {}, title), ` ${caption}`));

  const drawPair = (result) => {
    const [first, end] = [result.path[0], result.path.at(-1)], nearest = result.neighbours.find((one) => !one.is_source) ?? result.neighbours[0];
    const changed = result.labels.filter((one) => one.target !== one.source).map((one) => `${one.target ? "with" : "without"} ${words(one.name)}`).join(", ");
    if (about.decoder) {
      const own = person.picture;
      $("pair").replaceChildren(
        figure("before", "Before", first.picture, `${seen(result.id)} as the decoder draws it`, "drawn from the embedding"),
        figure("after", "After", end.picture, changed ? `The same, drawn after the edit: ${changed}` : "The same; nothing is edited yet", changed || "nothing edited yet"));
      if (own) $("pair").prepend(figure("own", person.upload ? "Your picture" : "Picture", own, person.upload ? "The uploaded picture" : `The picture of ${seen(result.id)}`, ""));
    } else {
      $("pair").replaceChildren(
        figure("before", "Before", person.picture, person.picture ? `The picture of ${seen(result.id)}` : seen(result.id), person.picture ? "" : "no picture of this row"),
        figure("after", "After", nearest?.picture ?? null, nearest ? `The nearest other real row, ${seen(nearest.id)}` : "no other row", nearest ? `nearest other real row, cosine ${shown(nearest.cosine)}` : ""));
    }
    $("pair").classList.toggle("three", $("pair").children.length > 2);
  };

  const summary = (result) => {
    const changed = result.labels.filter((one) => one.target !== one.source);
    if (!changed.length) return "Nothing is edited yet. Switch an attribute.";
    return changed.map((one) => {
      const to = `${words(one.name)} ${one.target ? "on" : "off"}`;
      return one.after === null ? to : `${to}: now reads ${percent(one.after)}, before ${percent(one.before)}`;
    }).join("; ") + ".";
  };

  const drawSupport = (result) => {
    const line = $("support"), found = result.support;
    line.hidden = found === null;
    if (found === null) return;
    line.classList.toggle("outside", found.outside);
    const share = found.after < 0.01 ? "fewer than 1 in 100" : `${Math.round(100 * found.after)} in 100`;
    const as = `${share} real rows of these labels lie as far out as this edit`;
    line.textContent = found.outside ? `Outside what was seen: ${as}. Do not trust this one.` : `Within what was seen: ${as}.`;
  };

  const drawPath = (result) => {
    const drawn = about.decoder;
    $("path-note").textContent = drawn ? "Each step as the decoder draws it." : "At each step the nearest real row.";
    $("path").replaceChildren(...result.path.map((point) => {
      const at = percent01(point.time), picture = point.picture ?? point.nearest?.picture, name = seen(point.nearest?.id ?? "");
      const alt = drawn ? `Drawn at ${at} of the way` : `Nearest real row at ${at} of the way: ${name}`;
      return make("li", {}, picture ? make("img", { src: picture, alt }) : make("div", { className: "blank" }, name), make("span", { className: "time" }, at));
    }));
  };
  const percent01 = (t) => `${Math.round(100 * t)} %`;

  const drawReadings = (result) => {
    $("judge").textContent = about.judge.said + (person.judged ? " It has read this very row, so its reading of “before” is flattered." : "");
    $("readings-scroll").hidden = about.judge.kind === "none";
    const bar = (kind, share) => { const made = make("i", { className: kind }); made.style.setProperty("--w", String(share ?? 0)); return made; };
    const rows = [...result.labels].sort((a, b) => Number(b.target !== b.source) - Number(a.target !== a.source));
    $("readings").tBodies[0].replaceChildren(...rows.map((one) => make("tr", { className: one.target === one.source ? "" : "asked" },
      make("th", { scope: "row" }, words(one.name)),
      make("td", { className: "label" }, one.target === one.source ? yes(one.target) : `${yes(one.source)} → ${yes(one.target)}`),
      make("td", { className: "num" }, percent(one.before)),
      make("td", { className: "num end" }, percent(one.after)),
      make("td", { className: "bars" }, make("div", { className: "meter", ariaHidden: "true" }, bar("was", one.before), bar("is", one.after))))));
  };
  const yes = (label) => (label === 1 ? "yes" : label === 0 ? "no" : "not known");

  const drawNear = (result) => {
    const drawn = result.neighbours.some((one) => one.drawn), any = result.neighbours.some((one) => one.picture);
    const among = about.gallery < about.rows ? `${about.gallery.toLocaleString()} of ${about.rows.toLocaleString()} rows, drawn at random` : `all ${about.rows.toLocaleString()} rows`;
    $("near-note").textContent = `By cosine to the edit, among ${among}.` + (drawn ? " Drawn by the decoder, as there is no folder of images." : "");
    $("near").classList.toggle("plain", !any);
    $("near").replaceChildren(...result.neighbours.map((one) => {
      const who = one.is_source ? "itself" : one.same_person ? "same person" : one.same_person === false ? "other person" : "";
      const button = make("button", { type: "button", title: `Edit ${seen(one.id)}` },
        any && one.picture ? make("img", { src: one.picture, alt: "" }) : null,
        make("span", { className: "id" }, seen(one.id)),
        make("span", { className: "cosine" }, shown(one.cosine), who ? make("span", { className: one.same_person ? "same" : "" }, ` · ${who}`) : null));
      button.addEventListener("click", () => pick(one.id));
      return make("li", {}, button);
    }));
  };

  let told = null;
  const tell = (result) => { // a screen reader hears the end of a drag, not every step of it
    clearTimeout(told);
    told = setTimeout(() => {
      const support = result.support?.outside ? " Outside what was seen." : "", near = result.neighbours[0];
      $("status").textContent = `${summary(result)}${support}${near ? ` Nearest real row ${seen(near.id)}, cosine ${shown(near.cosine)}.` : ""}`;
    }, 600);
  };

  const draw = (result) => {
    last = result;
    $("empty").hidden = true;
    $("stage").hidden = $("details").hidden = false;
    drawPair(result);
    $("summary").textContent = summary(result);
    drawSupport(result);
    drawPath(result);
    drawReadings(result);
    drawNear(result);
    tell(result);
  };

  // ---- controls

  // What a row goes to: what is set, its own label, or no where another of an exclusive group is gained.
  const targetOf = (one) => {
    const loses = about.exclusive.some((group) => group.includes(one.name) && group.some((other) => other !== one.name && state.set[other] === 1));
    return state.set[one.name] ?? (loses ? 0 : one.source);
  };

  const drawControls = () => {
    const labels = new Map(person.labels.map((one) => [one.name, one]));
    const list = $("attributes");
    if (list.children.length !== about.attributes.length) {
      list.replaceChildren(...about.attributes.map(({ name }) => {
        const button = make("button", { type: "button", role: "switch" }, make("span", { className: "name" }, words(name)), make("span", { className: "source" }), make("span", { className: "track", ariaHidden: "true" }));
        button.dataset.name = name;
        button.addEventListener("click", () => turn(name));
        return make("li", {}, button);
      }));
    }
    for (const button of list.querySelectorAll("button")) {
      const one = labels.get(button.dataset.name), target = targetOf(one), changed = target !== one.source;
      button.setAttribute("aria-checked", String(target === 1));
      button.parentElement.classList.toggle("changed", changed);
      const sure = one.inferred ? `, inferred with ${percent(one.confidence)}` : one.source === -1 ? "" : ", by the file";
      button.querySelector(".source").textContent = `${changed ? "changed; was " : ""}${yes(one.source)}${sure}`;
    }
    $("reset").disabled = !Object.keys(state.set).length && state.strength === 1 && state.keep === about.keep;
    $("strength").value = state.strength;
    $("strength-value").textContent = shown(state.strength);
    $("keep").value = state.keep ?? 0;
    $("keep-value").textContent = state.keep === null ? "" : shown(state.keep);
    const read = person.upload ? "an upload, labels inferred" : person.seen ? "training has read this row" : person.judged ? "training has not read this row; the judge has" : "neither training nor the judge has read this row";
    $("person").replaceChildren(make("strong", {}, person.upload ? "Your picture" : seen(person.id)), `: ${read}.`);
    if (document.activeElement !== $("query")) $("query").value = person.upload ? "" : person.id;
  };

  const turn = (name) => {
    const one = person.labels.find((label) => label.name === name), target = 1 - Math.max(0, targetOf(one));
    const set = names(state.set);
    if (target === one.source) delete set[name]; else set[name] = target;
    for (const group of about.exclusive) { // one choice: who gains one of them loses the other, as the server sees to
      if (group.includes(name)) for (const other of group) if (other !== name) delete set[other];
    }
    state = { ...state, set };
    remember(true);
    drawControls();
    edit(true);
  };

  const slide = (name, done) => {
    state = { ...state, [name]: Number($(name).value) };
    remember(done);
    drawControls();
    edit();
  };

  const show = async (found) => {
    person = found;
    state = { ...state, person: found.id };
    drawControls();
    edit(true);
  };

  const pick = async (name) => {
    try {
      const found = await askWithToken(`/person?id=${encodeURIComponent(name)}`);
      right();
      await show(found);
      remember(true);
    } catch (error) { wrong(error); }
  };

  const random = async (replace) => {
    try {
      const found = await askWithToken("/people/random");
      right();
      await show(found);
      remember(!replace);
    } catch (error) { wrong(error); }
  };

  const submit = async () => {
    const text = $("query").value.trim();
    if (!text) { wrong(new Refused(422, "Type an id, or a part of one; Random takes anybody.")); return; }
    try {
      const found = await askWithToken(`/people?limit=50&query=${encodeURIComponent(text)}`);
      if (!found.ids.length) { wrong(new Refused(404, `No id contains “${text}”. Try a shorter part of it, or Random.`)); return; }
      await pick(found.ids.includes(text) ? text : found.ids[0]);
    } catch (error) { wrong(error); }
  };

  const upload = async (file) => {
    if (!file) return;
    if (file.size > about.upload_bytes) { wrong(new Refused(413, `${file.name} has ${(file.size / 1048576).toFixed(1)} MB, and ${Math.round(about.upload_bytes / 1048576)} MB are the most that are taken. Make it smaller and try again.`)); return; }
    try {
      const found = await askWithToken("/upload", { method: "POST", body: file, headers: { "Content-Type": file.type || "application/octet-stream" } });
      right();
      state = { ...state, set: names() };
      await show(found);
      remember(true);
    } catch (error) { wrong(error); } finally { $("upload").value = ""; }
  };

  let typing = null, suggesting = null;
  const suggest = () => {
    clearTimeout(typing);
    typing = setTimeout(async () => {
      suggesting?.abort();
      suggesting = new AbortController();
      try {
        const found = await ask(`/people?limit=20&query=${encodeURIComponent($("query").value.trim())}`, { signal: suggesting.signal });
        $("found").replaceChildren(...found.ids.map((id) => make("option", { value: id })));
      } catch { /* a suggestion that does not come is no error to speak of */ }
    }, 150);
  };

  const follow = async () => { // back, forward, reload, or an address that somebody typed
    takeToken();
    read();
    if (state.person === null) { await random(true); return; }
    if (person?.id === state.person) { drawControls(); edit(true); return; }
    try {
      const found = await askWithToken(`/person?id=${encodeURIComponent(state.person)}`);
      right();
      await show(found);
    } catch (error) {
      $("empty").textContent = "Search for somebody by id, or press Random.";
      $("empty").hidden = !$("stage").hidden;
      wrong(error);
    }
  };

  const drawAbout = () => {
    document.title = `fclf: ${seen(about.run)}`;
    $("run").textContent = seen(about.run);
    $("version").textContent = `fclf ${about.version} · ${about.rows.toLocaleString()} rows of width ${about.dim}`;
    $("keeping").hidden = about.keep === null;
    $("uploading").hidden = !about.uploads;
    $("filter").hidden = about.attributes.length <= MANY;
    if (about.attributes.length > MANY) for (const [key, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Readings"]]) $("readings-scroll").setAttribute(key, value);
    const found = about.verdict, chip = $("chip"), kind = found ? found.name.toLowerCase() : "none";
    chip.hidden = false;
    chip.classList.add(kind);
    chip.append(make("span", { className: "visually-hidden" }, "Verdict: "), found ? found.name : "NOT EVALUATED");
    chip.addEventListener("click", () => { $("verdict").scrollIntoView(); $("verdict").focus(); });
    $("verdict").append(make("div", { className: `card ${kind}` }, make("h2", {}, "Verdict of this run’s evaluation"), ...(found ? [
      make("p", {}, make("span", { className: "word" }, found.name), " ", make("span", { className: "note" }, found.margin === null ? "" : `margin ${found.margin.toFixed(2)}`)),
      make("p", {}, found.meaning),
      make("ul", {}, ...found.reasons.slice(0, 4).map((reason) => make("li", {}, seen(reason)))),
    ] : [make("p", {}, "There is none, so nobody knows whether these edits collapse. Run fclf evaluate with --output-dir RUN/evaluation, and start again.")])));
  };

  const listen = () => {
    $("find").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
    $("query").addEventListener("input", suggest);
    $("query").addEventListener("focus", () => { $("query").select(); suggest(); });
    $("random").addEventListener("click", () => random(false));
    $("reset").addEventListener("click", () => { state = { ...state, set: names(), strength: 1, keep: about.keep }; remember(true); drawControls(); edit(true); });
    $("upload").addEventListener("change", () => upload($("upload").files[0]));
    $("filter").addEventListener("input", () => {
      const wanted = $("filter").value.trim().toLowerCase();
      for (const item of $("attributes").children) item.hidden = !item.querySelector(".name").textContent.toLowerCase().includes(wanted);
    });
    for (const name of ["strength", "keep"]) {
      $(name).addEventListener("input", () => slide(name, false));
      $(name).addEventListener("change", () => slide(name, true));
    }
    const drop = $("drop");
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); upload(event.dataTransfer.files[0]); });
    $("skip").addEventListener("click", (event) => { event.preventDefault(); $("result").focus(); }); // the fragment holds the state
    window.addEventListener("popstate", follow);
  };

  const begin = async () => {
    takeToken();
    try {
      about = await askWithToken("/about");
    } catch (error) {
      $("empty").textContent = "Nothing to show.";
      wrong(error);
      return;
    }
    drawAbout();
    listen();
    await follow();
  };
  begin();
})();
