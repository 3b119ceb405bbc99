// `node server.mjs REDIS_PORT`; it prints the address that it listens on.
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
await client.connect();

const app = express();
app.use(express.json());
app.use(
  session({
    store: new RedisStore({ client }),
    secret: "only for the benchmark",
    resave: false,
    saveUninitialized: false,
  }),
);

const write = (request, response) => {
  request.session.data = request.body;
  response.json({ data: request.session.data });
};
app.post("/new", write);
app.post("/update", write);
app.get("/get", (request, response) => {
  if (request.session.data === undefined) {
    response.status(404).end();
  } else {
    response.json({ data: request.session.data });
  }
});

const server = app.listen(0, "127.0.0.1", () => {
  const { address, port } = server.address();
  console.log(`${address}:${port}`);
});
