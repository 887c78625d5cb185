-- ARGV: worker, the day on which its machine began to be paid, what the time until its start cost [US$]. Kept once,
-- however often the worker starts.

local name = 'boot ' .. ARGV[2] .. ' ' .. ARGV[1]
if redis.call('HEXISTS', key.shares, name) == 1 then return 0 end
redis.call('HSET', key.shares, name, ARGV[3])
redis.call('HINCRBYFLOAT', key.spent, 'there ' .. ARGV[2], ARGV[3])
return 1
