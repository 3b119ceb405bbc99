-- Gets sessions of the file IDS at random, or changes them where WRITE is set; every change is another one.
local ids, number = {}, 0
for id in io.lines(os.getenv("IDS")) do
  ids[#ids + 1] = id
end
math.randomseed(tonumber(os.getenv("SEED")))
local text = string.rep("x", 180)
local write = os.getenv("WRITE") == "yes"

function request()
  local id = ids[math.random(#ids)]
  if not write then
    return wrk.format("GET", "/sessman/get?session_id=" .. id)
  end
  number = number + 1
  return wrk.format("POST", "/sessman/update", nil,
    '{"session_id":"' .. id .. '","data":{"n":' .. number .. ',"text":"' .. text .. '"}}')
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
