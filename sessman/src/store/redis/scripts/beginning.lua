-- All of a record that is before its data; what is not a record of a known layout, in part.
local head = redis.call('GETRANGE', KEYS[1], 0, HEAD_2 - 1)
local texts, tail_length = texts_of(head)
if not texts then
    return head
end
local user_length, metadata_length = struct.unpack('>I4I4', head, USER_LENGTH + 1)
return redis.call('GETRANGE', KEYS[1], 0, texts + user_length + metadata_length + tail_length - 1)
