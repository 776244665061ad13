# The same for Rack.
run lambda { |env|
  body = env["rack.input"] ? env["rack.input"].read.to_s : ""
  if env["PATH_INFO"] == "/sleep"
    sleep((env["QUERY_STRING"][/ms=([0-9]+)/, 1] || "50").to_i / 1000.0)
    body = "slept"
  end
  [200, { "Content-Type" => "text/plain", "Content-Length" => body.bytesize.to_s }, [body]]
}
