// Package mcp has the tools of MCP servers: programs that are run here and spoken to
// over their standard input and output, and servers that are reached over HTTP. It is
// the only code that knows the SDK.
//
// A file names the servers, in the form that other programs use, too:
//
//	mcpServers:
//	  files:
//	    command: [npx, -y, "@modelcontextprotocol/server-filesystem", /srv/docs]
//	    env: {TOKEN: "${secrets.FILES}"}
//	    tools: [read_*, list_directory]   # only these; all if left out
//	  search:
//	    url: https://search.example/mcp
//	    headers: {Authorization: "Bearer ${secrets.SEARCH}"}
//
// A server is connected to when one of its tools is first asked for, and again when it
// has gone: at once the first time, then after a wait that doubles up to a minute.
// While it waits, calls fail with class unavailable and say how long. A program has the
// environment that exec nodes have, with what env adds; it is a process group that ends
// with the daemon. What it writes to standard error goes to the daemon's log.
//
// Limits: a message 8 MiB, tools of a server 1,000, the time to connect 30 s.
package mcp
