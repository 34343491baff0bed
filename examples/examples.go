// Package examples holds definitions to begin with, and scripted answers for
// them, so that they run without models. wfd dev registers them where a directory
// has none of its own.
package examples

import "embed"

// Files are the definitions, and the answers in replies.yaml.
//
//go:embed *.yaml
var Files embed.FS

// Start is the project that wfd init writes, in the folder StartDir.
//
//go:embed start
var Start embed.FS

// StartDir is where the project is in Start.
const StartDir = "start"

// Replies is the name of the file with the answers.
const Replies = "replies.yaml"

// Demos are the runs that wfd dev begins with: one that ends by itself, and one that
// asks a person.
var Demos = []Demo{
	{"tour", `{"topic": "tides"}`},
	{"release-note", `{"product": "wfd"}`},
}

// Demo is a run to begin with.
type Demo struct{ Workflow, Input string }
