// The program of server.mjs with an adapter: classic, sharded, streams or streams-recovery. The
// address of Redis is in the environment.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { serve } from "./program.mjs";

const kind = process.argv[2];
const connect = async () => await createClient({ url: "redis://" + process.env.UPSHIFT_BENCH_BROKER }).connect();
const pub = await connect();
const makeAdapter = {
  classic: async () => createAdapter(pub, await connect(), { key: "node-classic" }),
  sharded: async () => createShardedAdapter(pub, await connect(), { channelPrefix: "node-sharded" }),
  streams: async () => createStreamsAdapter(pub, { streamName: "node", channelPrefix: "node-streams" }),
};
const options = { adapter: await makeAdapter[kind.split("-")[0]]() };
if (kind.endsWith("recovery")) options.connectionStateRecovery = {};
serve(createServer(), options);
