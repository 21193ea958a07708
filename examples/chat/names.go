package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/upshift-go/upshift/core"
)

// What people may type, in characters. The page says the same next to the
// fields, but who writes to the server need not be the page.
const (
	maxName = 32
	maxRoom = 32
	maxText = 2000
	maxKey  = 64 // bytes; keys are made by the page
)

// cleanName returns a name as it is shown: one line, single spaces, nothing
// in it that cannot be seen.
func cleanName(name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	if strings.ContainsFunc(name, invisible) {
		return "", core.Errorf("bad_name", "The name has characters that nobody could see.")
	}
	return name, measure(name, "name", maxName)
}

// cleanRoom returns the name of a room as everybody finds it: "#Tea  room" and
// "tea room" are the same.
func cleanRoom(room string) (string, error) {
	room = strings.ToLower(strings.Join(strings.Fields(strings.TrimLeft(room, "# ")), " "))
	if strings.ContainsFunc(room, invisible) {
		return "", core.Errorf("bad_room", "The room has characters that nobody could see.")
	}
	return room, measure(room, "room", maxRoom)
}

// cleanText returns a message as it is kept: its lines stay, the blank around
// them and control characters go.
func cleanText(text string) (string, error) {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text))
	return text, measure(text, "message", maxText)
}

// measure refuses what is too long, and what would show as nothing at all.
func measure(s, what string, limit int) error {
	switch {
	case !strings.ContainsFunc(s, visible):
		return core.Errorf("bad_"+what, "The %s is blank.", what)
	case utf8.RuneCountInString(s) > limit:
		return core.Errorf("bad_"+what, "The %s is longer than %d characters.", what, limit)
	}
	return nil
}

func visible(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }

// invisible reports characters by which two names that look the same can
// differ, or that turn the direction of the text around them.
func invisible(r rune) bool {
	switch {
	case r == '\u200c', r == '\u200d': // they join letters in Persian and Hindi, and emoji to one
		return false
	case r >= 0xe0020 && r <= 0xe007f: // they spell the region in a flag
		return false
	}
	return unicode.In(r, unicode.C)
}
