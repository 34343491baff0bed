// Package mcpserver serves wfd to programs that speak the Model Context Protocol:
// each workflow is a tool, runs are resources.
//
// It speaks to the API as the command line does, so that it serves a daemon and an
// engine in this process alike, and can do nothing that the API cannot.
//
// A call of a workflow's tool starts a run and waits for it. Clients give up on a
// call after a while, and a run may take days: what is not done within Options.Wait
// is answered with the run's ID, and wfd_await goes on waiting. A call that is
// cancelled, or whose client goes away, ends the waiting and not the run.
//
// The tools follow the registered definitions: a Server reads their events and
// changes its list, and its clients are told.
package mcpserver
