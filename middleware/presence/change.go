package presence

import (
	"cmp"
	"slices"
)

// A state is what who joins is told.
type state struct {
	Room    string   `json:"room"`
	Count   int      `json:"count"`
	Members []Member `json:"members"`
}

// A diff is what those who are there are told.
type diff struct {
	Room   string   `json:"room"`
	Count  int      `json:"count"`
	Joined []Member `json:"joined"`
	Left   []string `json:"left"`
}

// A change is what has become of members, the last of each.
type change struct {
	joined map[string]Member
	left   map[string]struct{}
}

func changeOf(all map[string]*change, room string) *change {
	c := all[room]
	if c == nil {
		c = &change{joined: make(map[string]Member), left: make(map[string]struct{})}
		all[room] = c
	}
	return c
}

func (c *change) join(m Member) {
	delete(c.left, m.Key)
	c.joined[m.Key] = m
}

func (c *change) leave(key string) {
	delete(c.joined, key)
	c.left[key] = struct{}{}
}

func (c *change) diff() diff {
	d := diff{Joined: make([]Member, 0, len(c.joined)), Left: make([]string, 0, len(c.left))}
	for _, m := range c.joined {
		d.Joined = append(d.Joined, m)
	}
	for key := range c.left {
		d.Left = append(d.Left, key)
	}
	slices.SortFunc(d.Joined, func(a, b Member) int { return cmp.Compare(a.Key, b.Key) })
	slices.Sort(d.Left)
	return d
}
