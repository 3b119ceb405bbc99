-- Stores a record unless a live one is there: 1 if it did, else the mark of the one that is there.
-- ARGV: now, the record, for how many milliseconds the server keeps it
local head = redis.call('GETRANGE', KEYS[1], 0, HEAD_2 - 1)
if #head > 0 then
    if not texts_of(head) then
        return unknown_layout()
    end
    if struct.unpack('>i8', head, EXPIRES_AT + 1) > tonumber(ARGV[1]) then
        return string.sub(head, MARK + 1, SECRET_HASH)
    end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
