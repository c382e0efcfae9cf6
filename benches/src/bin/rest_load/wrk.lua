-- Prints what wrk has measured as one line of JSON. With the argument `create SVM RUN`, each request makes a volume of its own.
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  if args[1] == "create" then
    local svm, run, count = args[2], args[3], 0
    request = function()
      count = count + 1
      local name = string.format("load_%s_%d_%d", run, number, count)
      local body = string.format('{"name":"%s","svm":{"uuid":"%s"},"encryption":{"enabled":true}}', name, svm)
      return wrk.format("POST", nil, nil, body)
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
