-- Requests about sessions that are picked at random, as LOAD_REQUESTS describes them; every write has another number in
-- it, so that no write is one that changes nothing.
local file = dofile(os.getenv("LOAD_REQUESTS"))
local ids = {}
for id in io.lines(os.getenv("LOAD_IDS")) do
  ids[#ids + 1] = id
end
math.randomseed(os.time())
local number = math.random(1000000) * 1000

function request()
  local text = file.between
  if file.before then
    text = file.before .. ids[math.random(#ids)] .. text
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
