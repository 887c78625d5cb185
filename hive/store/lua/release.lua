-- KEYS: job. ARGV: id, attempt, reason. An attempt was stopped on purpose: it does not count.
-- include _job

if not is_newest(KEYS[1], ARGV[2]) then return 0 end
local ms = now()
pay(KEYS[1], ms)
wait_again(KEYS[1], ARGV[1], ms)
tell(KEYS[1], {event = 'stopped', ms = ms, attempt = tonumber(ARGV[2]), reason = ARGV[3]})
return 1
