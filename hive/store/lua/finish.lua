-- KEYS: job. ARGV: id, attempt, state, outputs, measures, error or '', bytes that it read or ''. Returns 1 where this
-- attempt's result is kept.
-- include _job

local job, id = KEYS[1], ARGV[1]
if not is_newest(job, ARGV[2]) then return 0 end
local ms = now()
if ARGV[4] ~= '{}' then redis.call('HSET', job, 'outputs', ARGV[4]) end
if ARGV[5] ~= '{}' then redis.call('HSET', job, 'measures', ARGV[5]) end
if (tonumber(ARGV[7]) or 0) > 0 then redis.call('HSET', job, 'input_bytes', ARGV[7]) end
if ARGV[3] == 'succeeded' then
  redis.call('HDEL', job, 'checkpoint', 'most_losses')
  -- It will not be sent again, and a signature takes as much memory as all the rest of a short specification.
  local unsigned = string.gsub(redis.call('HGET', job, 'specification'), ',"signature":"[^"]*"}$', '}')
  redis.call('HSET', job, 'specification', unsigned)
end
finish(job, id, ms, ARGV[3], ARGV[6] ~= '' and cjson.decode(ARGV[6]) or nil)
tell(job, {event = ARGV[3], ms = ms, attempt = tonumber(ARGV[2])})
return 1
