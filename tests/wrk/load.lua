-- Requests about sessions that are picked at random, as LOAD_REQUESTS describes them; every write has another number in
-- it, so that no write is one that changes nothing.
local file = dofile(os.getenv("LOAD_REQUESTS"))
-- Outside of Lua's own memory: a million ids in it would have Lua pause for milliseconds.
local ffi = require("ffi")
ffi.cdef("void *malloc(size_t size);")
local file_of_ids = io.open(os.getenv("LOAD_IDS"))
local width = #file_of_ids:read("*l") + 1
local count = file_of_ids:seek("end") / width
local ids = ffi.cast("char *", ffi.C.malloc(count * width))
file_of_ids:seek("set")
for line = 0, count - 1 do
  ffi.copy(ids + line * width, file_of_ids:read("*l"), width - 1)
end
collectgarbage()
math.randomseed(os.time())
local number = math.random(1000000) * 1000

function request()
  local text = file.between
  if file.before then
    local start = math.random(0, count - 1) * width
    text = file.before .. ffi.string(ids + start, width - 1) .. text
  end
  if file.after then
    number = number + 1
    text = text .. string.format("%010d", number) .. file.after
  end
  return text
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
