// What a page may try with a server that its user runs. Gives, for each attempt, what it could
// read of the answer, or null.
async (hub) => {
  const SECONDS = 5;
  const within = (attempt) =>
    Promise.race([
      Promise.resolve().then(attempt).catch(() => null),
      new Promise((done) => setTimeout(done, SECONDS * 1000, null)),
    ]);
  const body = JSON.stringify({ trigger: "manual", reason: "a page did this" });

  const read = async (path, options) => {
    const answer = await fetch(hub.base + path, options);
    const text = answer.type === "opaque" ? "" : await answer.text();
    return answer.ok && text ? text : null;
  };
  const post = (path, type, options) =>
    read(path, { method: "POST", headers: { "Content-Type": type }, body, ...options });

  const socket = (address) =>
    new Promise((done) => {
      const opened = new WebSocket(address);
      opened.onopen = () =>
        opened.send(JSON.stringify({ type: "subscribe", payload: { topics: ["*"], since: 0 } }));
      opened.onmessage = (message) => (done(message.data), opened.close());
      opened.onerror = () => done(null);
      opened.onclose = () => done(null);
    });

  const events = (path) =>
    new Promise((done) => {
      const source = new EventSource(hub.base + path);
      source.onmessage = (message) => (source.close(), done(message.data));
      source.onerror = () => (source.close(), done(null));
    });

  const element = (name, attributes, look) =>
    new Promise((done) => {
      const made = Object.assign(document.createElement(name), attributes);
      made.onload = () => {
        try {
          done(look(made) || null);
        } catch {
          done(null);
        }
      };
      made.onerror = () => done(null);
      document.body.append(made);
    });
  const words = (frame) => frame.contentDocument.body.innerText;

  const form = (path, enctype) => {
    const frame = document.createElement("iframe");
    frame.name = `frame ${path} ${enctype}`;
    document.body.append(frame);
    const made = document.createElement("form");
    Object.assign(made, { action: hub.base + path, method: "POST", enctype, target: frame.name });
    const field = document.createElement("input");
    // As text/plain this is JSON: {"trigger": "manual", "reason": "="}
    Object.assign(field, { name: '{"trigger": "manual", "reason": "', value: '"}' });
    made.append(field);
    document.body.append(made);
    return new Promise((done) => {
      frame.onload = () => {
        try {
          done(words(frame).includes("checkpointId") ? words(frame) : null);
        } catch {
          done(null);
        }
      };
      made.submit();
    });
  };

  const another = async (path) => {
    const opened = window.open(hub.base + path);
    if (!opened) return null;
    const until = Date.now() + 1000;
    try {
      while (Date.now() < until) {
        await new Promise((done) => setTimeout(done, 20));
        const text = opened.document.body?.innerText; // throws where it is somebody else's
        if (text) return text;
      }
      return null;
    } finally {
      opened.close();
    }
  };

  const attempts = {};
  for (const address of hub.sockets) attempts[`WebSocket ${address}`] = () => socket(address);
  for (const path of hub.reads) {
    attempts[`fetch ${path}`] = () => read(path);
    attempts[`fetch with credentials ${path}`] = () => read(path, { credentials: "include" });
    attempts[`fetch no-cors ${path}`] = () => read(path, { mode: "no-cors" });
  }
  for (const path of hub.writes) {
    attempts[`POST JSON ${path}`] = () => post(path, "application/json");
    attempts[`POST text ${path}`] = () => post(path, "text/plain", { mode: "no-cors" });
    attempts[`POST form ${path}`] = () =>
      post(path, "application/x-www-form-urlencoded", { mode: "no-cors" });
    attempts[`beacon ${path}`] = () => (navigator.sendBeacon(hub.base + path, body), null);
    for (const enctype of ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
      attempts[`form ${enctype} ${path}`] = () => form(path, enctype);
  }
  attempts["EventSource"] = () => events("/api/events/stream?since=0");
  attempts["frame"] = () => element("iframe", { src: hub.base + "/api/tasks" }, words);
  attempts["image"] = () => element("img", { src: hub.base + "/api/tasks" }, (it) => it.width);
  attempts["script"] = () => element("script", { src: hub.base + "/openapi.json" }, () => null);
  attempts["module"] = () =>
    element("script", { type: "module", src: hub.base + "/openapi.json" }, () => "a module");
  attempts["style"] = () =>
    element("link", { rel: "stylesheet", href: hub.base + "/openapi.json" }, (it) =>
      [...it.sheet.cssRules].map((rule) => rule.cssText).join(""),
    );
  attempts["window"] = () => another("/api/tasks");
  attempts["import"] = () => import(hub.base + "/openapi.json").then(() => "a module");

  const names = Object.keys(attempts);
  const found = await Promise.all(names.map((name) => within(attempts[name])));
  return Object.fromEntries(names.map((name, place) => [name, found[place]]));
};
