-- Begins COUNT sessions with 200 bytes of data and writes their ids to the file IDS. MORE are further members, in which
-- {n%7} is the number of the session modulo 7.
local count, file = tonumber(os.getenv("COUNT")), nil
local sent, answered = 0, 0
local text, more = string.rep("x", 180), os.getenv("MORE") or ""
wrk.method = "POST"
wrk.path = "/sessman/new"

function init()
  file = assert(io.open(os.getenv("IDS"), "w"))
end

function request()
  sent = sent + 1
  local members = string.gsub(more, "{n%%(%d+)}", function(number) return sent % number end)
  return wrk.format(
    nil, nil, nil, '{"user":"u' .. sent .. '","data":{"n":0,"text":"' .. text .. '"}' .. members .. '}'
  )
end

function response(status, headers, body)
  assert(status == 201, body)
  answered = answered + 1
  if answered <= count then
    file:write(body:match('"session_id":"([^"]+)"'), "\n")
  end
  if answered == count then
    file:close()
    -- wrk itself would go on sleeping until its time is over.
    os.exit(0)
  end
end
