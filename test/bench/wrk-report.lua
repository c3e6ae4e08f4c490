-- Prints what wrk counted as one line of JSON. wrk's own percentiles are not printed on purpose: a closed
-- loop leaves out the requests it could not send (coordinated omission).
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"durationUs":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}\n',
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.timeout, e.status))
end
