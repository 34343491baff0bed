// Package roster knows the agents: who there is, who has a role, and who has time.
//
// An agent is a Markdown file, named like the agent, with front matter; what follows
// it is the system prompt:
//
//	---
//	name: Baccio                    # what people call it; the file's name if left out
//	description: Architecture of systems and their code
//	role: coder                     # any word; letter case, - and _ alike
//	provider: openai                # openai, anthropic or sim
//	model: gpt-4.1
//	base_url: http://127.0.0.1:11434/v1
//	api_key: ${secrets.LOCAL_KEY}   # a secret, never the key itself
//	temperature: 0.2
//	max_tokens: 2000
//	max_parallel: 4                 # attempts at once; the rest waits
//	tools: [search, "files/*"]
//	budget: {usd: 5, tokens: 1000000}
//	expect: {type: object}          # JSON Schema of its answers, where a node has none
//	---
//	You are Baccio, a software architect.
//
// What is left out of provider, model, base_url and api_key comes from [Defaults]. A
// set of agents is built in, which covers the roles of the original's templates; a
// file of the same name takes the place of a built-in one.
//
// # Looking up
//
// [Roster.Lookup] finds an agent by the name of its file, by its own name, or by the
// words either begins with ("baccio" finds baccio-tech-architect), letter case, -, _
// and blanks alike. A name that fits several is an error. All look-ups take the same
// time however many agents there are.
//
// # Choosing
//
// Among the agents of a role the one with the fewest tasks is chosen; among equals the
// one that was chosen longest ago, then the first by name. [Roster.Begin] opens a
// series of choices that count each other before any of them is known to be a task.
// A role that nobody has gets a generic agent, called like the role. What is chosen is
// recorded by the engine: it is never chosen again for the same attempt.
//
// # Changes
//
// [Roster.Refresh] looks at the directory and takes up what is new, changed or gone.
// A file with errors leaves the agent as it last was, and is reported once per state of
// the file. Tasks under way keep the agent they were given. Who was chosen longest ago
// is not remembered across restarts.
package roster
