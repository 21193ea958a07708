package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
)

// stopped is a clock that does not run, so that order cannot come from it.
func stopped() time.Time { return time.UnixMilli(1000) }

func enter(t *testing.T, rs *rooms, socket, name, room, secret string) move {
	t.Helper()
	m, err := rs.enter(socket, name, room, secret)
	if err != nil {
		t.Fatalf("%s enters %s: %v", name, room, err)
	}
	return m
}

func names(people []Person) []string {
	list := make([]string, 0, len(people))
	for _, p := range people {
		list = append(list, p.Name)
	}
	return list
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*core.Error](err); !ok || e.Code != code {
		t.Errorf("error = %v, want code %s", err, code)
	}
}

func TestEnterTellsTheRoom(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ben", "lobby", "b")
	m := enter(t, rs, "2", "  ada   lovelace ", "#Lobby", "a")
	if m.left != nil || m.replaced != "" || m.joined.Room != "lobby" {
		t.Errorf("move = %+v", m)
	}
	if got := m.joined.Joined.Name; got != "ada lovelace" {
		t.Errorf("joined %q", got)
	}
	if got := names(m.joined.People); !slices.Equal(got, []string{"ada lovelace", "Ben"}) {
		t.Errorf("people = %q", got)
	}
}

func TestEnterAnotherRoomLeavesTheFirst(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	m := enter(t, rs, "1", "Ada", "tea", "a")
	if m.left == nil || m.left.Room != "lobby" || m.left.Left.Name != "Ada" || len(m.left.People) != 0 {
		t.Errorf("left = %+v", m.left)
	}
	if s, err := rs.seat("1"); err != nil || s.room.name != "tea" {
		t.Errorf("seat = %+v, %v", s, err)
	}
}

func TestEnterAgainAfterLostConnection(t *testing.T) {
	rs := newRooms(stopped)
	first := enter(t, rs, "old", "Ada", "lobby", "secret")
	m := enter(t, rs, "new", "Ada", "lobby", "secret")
	if m.replaced != "old" || m.joined != nil || m.seat.person != first.seat.person {
		t.Errorf("move = %+v, want the old seat without a word", m)
	}
	if r := rs.leave("old"); r != nil {
		t.Errorf("the old connection's end announces %+v", r)
	}
	if r := rs.leave("new"); r == nil || r.Left.Name != "Ada" {
		t.Errorf("the new connection's end announces %+v", r)
	}
}

func TestEnterSameRoomAgain(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	if m := enter(t, rs, "1", "Ada", "lobby", "a"); m.left != nil || m.joined != nil || m.replaced != "" {
		t.Errorf("nothing has changed, but move = %+v", m)
	}
	m := enter(t, rs, "1", "Ada L.", "lobby", "a")
	if m.left != nil || m.joined == nil || !slices.Equal(names(m.joined.People), []string{"Ada L."}) {
		t.Errorf("after a new name, move = %+v", m)
	}
}

func TestEnterRefuses(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	tests := []struct {
		what, name, room, code string
	}{
		{"blank name", " \t\u3000", "lobby", "bad_name"},
		{"name of marks only", "\u0301\u0301", "lobby", "bad_name"},
		{"long name", strings.Repeat("é", maxName+1), "lobby", "bad_name"},
		{"name that turns the text around", "Ben\u202e", "lobby", "bad_name"},
		{"name with a zero-width space", "Ada\u200b", "lobby", "bad_name"},
		{"control character", "Ben\x00", "lobby", "bad_name"},
		{"blank room", "Ben", "##", "bad_room"},
		{"long room", "Ben", strings.Repeat("r", maxRoom+1), "bad_room"},
		{"control character in the room", "Ben", "lob\x1bby", "bad_room"},
		{"name taken", "ADA", "lobby", "name_taken"},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			_, err := rs.enter("2", tt.name, tt.room, "b")
			wantCode(t, err, tt.code)
		})
	}
	if roster, _, err := rs.look("1"); err != nil || len(roster.People) != 1 {
		t.Errorf("after refusals the room has %+v, %v", roster, err)
	}
}

func TestNamesInAnyScript(t *testing.T) {
	for _, name := range []string{
		"José", "李小龍", "دانا", strings.Repeat("字", maxName),
		"می\u200cخواهم", "👩\u200d👩\u200d👧", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
	} {
		if got, err := cleanName(name); err != nil || got != name {
			t.Errorf("cleanName(%q) = %q, %v", name, got, err)
		}
	}
}

func TestPostKeepsOrderWithoutAClock(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	last := int64(0)
	for i := range 3 {
		m, fresh, err := rs.post("1", strconv.Itoa(i), "hi")
		if err != nil || !fresh || m.At <= last {
			t.Fatalf("post %d = %+v, %v, %v after %d", i, m, fresh, err, last)
		}
		last = m.At
	}
	if r := rs.leave("1"); r.At <= last {
		t.Errorf("leaving at %d is not after %d", r.At, last)
	}
}

func TestPostTakesAKeyOnce(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	enter(t, rs, "2", "Ben", "lobby", "b")
	first, _, err := rs.post("1", "k", "hi")
	if err != nil {
		t.Fatal(err)
	}
	enter(t, rs, "3", "Ada", "lobby", "a") // the same page, reconnected
	if again, fresh, err := rs.post("3", "k", "hi"); err != nil || fresh || again != first {
		t.Errorf("sent again: %+v, %v, %v, want %+v", again, fresh, err, first)
	}
	if _, fresh, err := rs.post("2", "k", "hi"); err != nil || !fresh {
		t.Errorf("somebody else's key: %v, %v", fresh, err)
	}
	if _, history, _ := rs.look("3"); len(history) != 2 {
		t.Errorf("%d messages are kept, want 2", len(history))
	}
}

func TestPostForgetsTheOldest(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "lobby", "a")
	for i := range maxHistory + 5 {
		if _, _, err := rs.post("1", "", strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	_, history, err := rs.look("1")
	if err != nil || len(history) != maxHistory || history[0].Text != "5" {
		t.Errorf("kept %d from %q, %v; want %d from 5", len(history), history[0].Text, err, maxHistory)
	}
}

func TestPostRefuses(t *testing.T) {
	rs := newRooms(stopped)
	_, _, err := rs.post("nobody", "", "hi")
	wantCode(t, err, "not_in_room")
	enter(t, rs, "1", "Ada", "lobby", "a")
	_, _, err = rs.post("1", "", " \n\x00 ")
	wantCode(t, err, "bad_message")
	_, _, err = rs.post("1", "", strings.Repeat("x", maxText+1))
	wantCode(t, err, "bad_message")
	_, _, err = rs.post("1", strings.Repeat("k", maxKey+1), "hi")
	wantCode(t, err, "bad_key")
	if m, _, err := rs.post("1", "", " two\r\nlines\x07 "); err != nil || m.Text != "two\nlines" {
		t.Errorf("post = %q, %v", m.Text, err)
	}
}

func TestRoomsAndPeopleAreBounded(t *testing.T) {
	now := stopped()
	rs := newRooms(func() time.Time {
		now = now.Add(time.Second)
		return now
	})
	for i := range maxPeople {
		enter(t, rs, strconv.Itoa(i), fmt.Sprint("p", i), "crowd", strconv.Itoa(i))
	}
	_, err := rs.enter("more", "More", "crowd", "more")
	wantCode(t, err, "room_full")
	enter(t, rs, "0b", "p0", "crowd", "0") // who is in may come back

	for i := range maxRooms - 1 {
		enter(t, rs, fmt.Sprint("r", i), "Ada", fmt.Sprint("room", i), "a")
	}
	_, err = rs.enter("more", "More", "one more", "more")
	wantCode(t, err, "too_many_rooms")

	rs.leave("r7")
	rs.leave("r3")
	enter(t, rs, "more", "More", "one more", "more")
	if _, kept := rs.byName["room7"]; kept || len(rs.byName) != maxRooms {
		t.Errorf("%d rooms; the one that has been quiet for longest is there: %t", len(rs.byName), kept)
	}
}

func TestListShowsTheFullestFirst(t *testing.T) {
	rs := newRooms(stopped)
	enter(t, rs, "1", "Ada", "tea", "a")
	enter(t, rs, "2", "Ben", "lobby", "b")
	enter(t, rs, "3", "Cy", "lobby", "c")
	enter(t, rs, "4", "Dan", "gone", "d")
	rs.leave("4") // nobody there, nothing said
	want := []RoomInfo{{Name: "lobby", People: 2}, {Name: "tea", People: 1}}
	if got := rs.list(); !slices.Equal(got, want) {
		t.Errorf("list = %v, want %v", got, want)
	}
}

func TestPersonIDs(t *testing.T) {
	if a, b := personID("s"), personID("s"); a != b {
		t.Errorf("ids of one secret: %q, %q", a, b)
	}
	if one, other := personID(""), personID(""); one == other {
		t.Error("pages without a secret are one person")
	}
}
