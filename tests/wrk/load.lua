-- Requests about sessions that are picked at random, as LOAD_REQUESTS describes them; every write has another number in
-- it, so that no write is one that changes nothing.
local file = dofile(os.getenv("LOAD_REQUESTS"))
-- One text with lines of one length: a million strings would have Lua pause to look through them.
local ids = io.open(os.getenv("LOAD_IDS")):read("*a")
local width = ids:find("\n")
local count = #ids / width
math.randomseed(os.time())
local number = math.random(1000000) * 1000

function request()
  local text = file.between
  if file.before then
    local start = math.random(0, count - 1) * width
    text = file.before .. ids:sub(start + 1, start + width - 1) .. text
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
