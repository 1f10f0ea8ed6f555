import { defineConfig } from "vite";

// `npm run dev` serves the page with reload and passes Socket.IO on to a running Flux.
const server = process.env.FLUX_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { proxy: { "/socket.io": { target: server, ws: true } } },
});
