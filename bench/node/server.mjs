// Node's socket.io, alone.
import { createServer } from "node:http";
import { serve } from "./program.mjs";

serve(createServer(), {});
