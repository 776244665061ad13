# A whole handler in Ruby, without an SDK: it numbers each user's messages.
#
#   turnkey run -- ruby counter.rb
#
# docs/HANDLERS.md explains each line that is written and read here.
require "json"

# The end of the pipe is what it leaves at.
%w[INT TERM].each { |signal| trap(signal, "IGNORE") }
turns = IO.for_fd(3, "r:UTF-8")
answers = IO.for_fd(4, "w:UTF-8")
say = ->(line) { answers.write(JSON.generate(line), "\n"); answers.flush }

say.(hello: { protocol: 1, name: "counter.rb" })
turns.each_line do |text|
  line = JSON.parse(text, max_nesting: false)
  say.(pong: line["ping"]) if line["ping"]
  next unless (turn = line["turn"])

  begin
    count = (turn["state"] || {}).fetch("count", 0) + 1
    say.(id: line["id"], done: {
      state: { count: count },
      replies: [{ text: "#{count}: #{turn["text"]}" }]
    })
  rescue StandardError => e
    say.(id: line["id"], fail: { error: "#{e.class}: #{e.message[/.*/]}", trace: e.backtrace.join("\n") })
  end
end
