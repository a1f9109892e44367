"use strict";
// The OpenAPI document of this server as a page. FastAPI's own page loads its scripts from another host; this one does not.
(() => {
  const make = (name, text, kind) => Object.assign(document.createElement(name), text === undefined ? {} : { textContent: text }, kind ? { className: kind } : {});

  const typeOf = (schema) => {
    if (!schema) return "";
    if (schema.$ref) return schema.$ref.split("/").pop();
    if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
    if (schema.enum) return schema.enum.join(" or ");
    if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
    if (schema.type === "object" && schema.additionalProperties) return `names to ${typeOf(schema.additionalProperties)}`;
    return schema.format ?? schema.type ?? "anything";
  };

  const bounds = (schema) => {
    const parts = [["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"], ["minItems", "items ≥"], ["maxItems", "items ≤"], ["maxProperties", "names ≤"]];
    const from = [schema, ...(schema.anyOf ?? [])], said = [];
    for (const [key, sign] of parts) for (const one of from) if (one[key] !== undefined) said.push(`${sign} ${one[key]}`);
    return said.join(", ");
  };

  const table = (rows, head) => {
    const scroll = make("div", undefined, "scroll"), made = make("table"), top = make("tr"), body = make("tbody"), thead = make("thead");
    for (const text of head) top.append(Object.assign(make("th", text), { scope: "col" }));
    for (const row of rows) {
      const line = make("tr");
      row.forEach((text, i) => line.append(i ? make("td", text) : Object.assign(make("th", text), { scope: "row" })));
      body.append(line);
    }
    thead.append(top);
    made.append(thead, body);
    scroll.append(made);
    return scroll;
  };

  const fields = (schema) => Object.entries(schema.properties ?? {}).map(([name, one]) => [
    name, typeOf(one), bounds(one), one.default === undefined ? ((schema.required ?? []).includes(name) ? "required" : "") : JSON.stringify(one.default), one.description ?? "",
  ]);

  const show = (document_) => {
    const out = [make("p", document_.info.description, "note")];
    for (const [path, methods] of Object.entries(document_.paths)) {
      for (const [method, one] of Object.entries(methods)) {
        const part = make("section", undefined, "block");
        part.append(make("h2", `${method.toUpperCase()} ${path}`), make("p", one.description ?? one.summary));
        const parameters = (one.parameters ?? []).map((p) => [p.name, typeOf(p.schema), bounds(p.schema), p.required ? "required" : JSON.stringify(p.schema.default ?? ""), p.description ?? ""]);
        if (parameters.length) part.append(table(parameters, ["query", "type", "limits", "default", ""]));
        const body = one.requestBody?.content;
        if (body) part.append(make("p", `Body: ${Object.entries(body).map(([kind, { schema }]) => `${kind} (${typeOf(schema)})`).join(", ")}`, "note"));
        const answers = Object.entries(one.responses).map(([code, { description, content }]) => `${code} ${Object.values(content ?? {}).map((c) => typeOf(c.schema)).filter((t) => t !== "anything").join("") || description}`);
        part.append(make("p", `Answers: ${answers.join(" · ")}`, "note"));
        out.push(part);
      }
    }
    for (const [name, schema] of Object.entries(document_.components?.schemas ?? {})) {
      if (/ValidationError$/.test(name)) continue;
      const part = make("section", undefined, "block");
      part.append(make("h2", name), make("p", schema.description ?? "", "note"), table(fields(schema), ["key", "type", "limits", "default", ""]));
      out.push(part);
    }
    document.getElementById("docs").replaceChildren(...out);
  };

  fetch("/openapi.json").then((answer) => answer.json()).then(show, () => {
    document.getElementById("docs").replaceChildren(make("p", "The server does not answer; reload the page when it runs again.", "message"));
  });
})();
