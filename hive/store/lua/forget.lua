-- KEYS: job. ARGV: id. Removes a job and everything that names it.

local queue = redis.call('HGET', KEYS[1], 'queue')
if not queue then return 0 end
redis.call('ZREM', key.jobs, ARGV[1])
for _, jobs in ipairs({key.waiting, key.running, key.leases, key.finished}) do
  redis.call('ZREM', jobs .. queue, ARGV[1])
end
return redis.call('DEL', KEYS[1], KEYS[1] .. key.log, KEYS[1] .. key.parts)
