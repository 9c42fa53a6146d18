// A channel plugin written to the original product's HTTP contract, with its known weaknesses on purpose: malformed
// JSON gets an HTML page, a provider's refusal is a 200 with ok:false, and an exception is a 500 that says little.
const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");

const LIMIT = 64 * 1024;
const token = process.env.AISOPSFLOW_INTERNAL_AUTH_TOKEN || process.env.INTERNAL_AUTH_TOKEN || "";

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json; charset=utf-8" });
  response.end(JSON.stringify(body));
}

function page(response, status, text) {
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8" });
  response.end(`<!DOCTYPE html><pre>${text}<br> at ${__filename}:1:1</pre>`);
}

function equal(left, right) {
  const a = Buffer.from(left);
  const b = Buffer.from(right);
  return a.length === b.length && crypto.timingSafeEqual(a, b);
}

function signed(request, body) {
  const given = request.headers["x-internal-auth"];
  const at = request.headers["x-internal-timestamp"];
  const signature = request.headers["x-internal-signature"];
  if (!given || !at || !signature || !equal(given, token)) return false;
  if (!(Math.abs(Date.now() / 1000 - Number(at)) <= 300)) return false;
  const [path, query] = request.url.split("?", 2);
  const text = `${at}\n${request.method}\n${path || "/"}\n${query ? "?" + query : ""}\n`;
  const digest = crypto.createHmac("sha256", token).update(text).update(body).digest("base64");
  return equal(signature, `sha256=${digest}`);
}

function send(message, response) {
  const { target, text } = message;
  if (typeof target !== "string" || typeof text !== "string" || !target.trim() || !text.trim()) {
    return json(response, 400, { ok: false, error: "invalid request body" });
  }
  if (text === "refuse") return json(response, 200, { ok: false, error: "channel_not_found" });
  if (text === "page") return page(response, 500, "TypeError: fetch failed");
  if (text === "break") return json(response, 500, { ok: false, error: "socket hang up" });
  if (text === "garbage") return response.end('{"ok":tru');
  if (text === "hang") return undefined;
  if (process.env.HALLWAY_EFFECTS) fs.appendFileSync(process.env.HALLWAY_EFFECTS, `${text}\n`);
  if (text === "die") return process.kill(process.pid, "SIGKILL");
  if (text === "wait") return undefined;
  const environment = Object.keys(process.env).sort();
  return json(response, 200, { ok: true, hallway: { ts: "1", greeting: process.env.HALLWAY_GREETING, environment } });
}

function handle(request, response, body) {
  if (request.method === "POST" && request.url === "/probe") {
    return json(response, 200, { ok: true, name: "hallway", version: "0.3.0", capabilities: ["hallway.send"] });
  }
  let message;
  try {
    message = JSON.parse(body.toString("utf8"));
  } catch (error) {
    return page(response, 400, error.stack);
  }
  if (!token) return json(response, 503, { ok: false, error: "internal auth is not configured" });
  if (!signed(request, body)) return json(response, 401, { ok: false, error: "unauthorized" });
  if (request.method === "POST" && request.url.split("?")[0] === "/send") return send(message, response);
  return page(response, 404, `Cannot ${request.method} ${request.url}`);
}

const server = http.createServer((request, response) => {
  const parts = [];
  let size = 0;
  request.on("data", (part) => {
    size += part.length;
    if (size <= LIMIT) parts.push(part);
  });
  request.on("end", () => {
    if (size > LIMIT) return page(response, 413, "PayloadTooLargeError");
    return handle(request, response, Buffer.concat(parts));
  });
});
server.listen(Number(process.env.PORT || 9000), () => console.log(`hallway listens on ${server.address().port}`));
