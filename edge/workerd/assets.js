// Stands in for the static assets of the platform: workerd's own disk service guesses no content types and lists
// directories. Development only; wrangler.toml has an [assets] section for production.

const CONTENT_TYPES = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  ico: "image/x-icon",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  map: "application/json",
  mjs: "text/javascript; charset=utf-8",
  png: "image/png",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
  wasm: "application/wasm",
  webmanifest: "application/manifest+json",
  woff2: "font/woff2",
};

export default {
  async fetch(request, env) {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Method Not Allowed", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    const { pathname } = new URL(request.url);
    const last = pathname.slice(pathname.lastIndexOf("/") + 1);
    const file = last.includes(".") ? pathname : `${pathname.replace(/\/$/, "")}/index.html`;
    const found = await env.SITE.fetch(`http://site${file}`, { method: request.method });
    if (!found.ok) return new Response("Not Found", { status: 404 });
    const headers = new Headers(found.headers);
    headers.set("content-type", CONTENT_TYPES[file.slice(file.lastIndexOf(".") + 1)] ?? "application/octet-stream");
    return new Response(found.body, { headers });
  },
};
