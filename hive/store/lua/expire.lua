-- KEYS: leases of a queue. ARGV: lease [ms], most. Takes back jobs whose lease has ended; returns their ids.
-- include _job
-- include _pulse

local ms = now()
pulse(ms, tonumber(ARGV[1]))
if is_away(ms) then return {} end
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(expired) do
  lose(key.job .. id, id, ms, 'vanished', tonumber(redis.call('ZSCORE', KEYS[1], id)))
end
return expired
