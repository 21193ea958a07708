package main

import (
	"os"
	"strings"
	"testing"
)

// The README shows this program to the letter.
func TestReadmeShowsTheProgram(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+strings.TrimSpace(string(program))+"\n```") {
		t.Error("README.md shows another program than examples/quickstart/main.go")
	}
	if lines := strings.Count(string(program), "\n"); lines > 31 {
		t.Errorf("thirty lines have become %d", lines)
	}
}
