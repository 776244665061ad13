// The same, as in the documentation of node's cluster module; and a WebSocket that echoes, if
// the package `ws` is there.
const cluster = require("node:cluster");
const http = require("node:http");

if (cluster.isPrimary) {
  for (let i = 0; i < 2; i++) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    let body = [];
    request.on("data", (chunk) => body.push(chunk));
    request.on("end", () => {
      const answer = (data) => {
        response.writeHead(200, { "Content-Length": data.length });
        response.end(data);
      };
      if (url.pathname === "/sleep") {
        setTimeout(() => answer(Buffer.from("slept")), Number(url.searchParams.get("ms") || 50));
      } else {
        answer(Buffer.concat(body));
      }
    });
  });
  if (process.env.WEBSOCKET) {
    const { WebSocketServer } = require("ws");
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket) => {
      socket.on("message", (data) => socket.send(data.toString()));
    });
  }
  server.listen(Number(process.env.PORT), "127.0.0.1");
}
