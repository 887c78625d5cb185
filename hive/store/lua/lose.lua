-- KEYS: job. ARGV: id, attempt, reason. An attempt has died: it counts.
-- include _job

if not is_newest(KEYS[1], ARGV[2]) then return 0 end
lose(KEYS[1], ARGV[1], now(), ARGV[3])
return 1
