package adminui

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A model is what the pages have been told of the sockets of this server. What
// they are told next starts from there, so that they neither miss a change nor
// see one twice. It is nil while nobody watches, and belongs to the goroutine of
// Admin.run.
type model map[*core.Socket]*told

// told is what the pages know of one socket, as far as it changes.
type told struct {
	transport string
	rooms     []string
}

// begin has the model start from what there is. The pages are told later.
func (a *Admin) begin(all []*core.Socket) {
	a.model = make(model, len(all))
	for _, s := range all {
		a.model[s] = &told{transport: s.Transport(), rooms: s.Rooms()}
	}
}

// reconcile tells the pages the difference to what there is, after something was
// lost.
func (a *Admin) reconcile(all []*core.Socket) {
	now := time.Now()
	there := make(map[*core.Socket]struct{}, len(all))
	for _, s := range all {
		there[s] = struct{}{}
	}
	for s := range a.model {
		if _, ok := there[s]; !ok {
			a.tellDisconnected(s, core.ReasonOf(context.Cause(s.Context())), now)
		}
	}
	for _, s := range all {
		t := a.model[s]
		if t == nil {
			a.tellConnected(s, s.Rooms(), now)
			continue
		}
		a.tellTransport(s, s.Transport())
		rooms := s.Rooms()
		for _, room := range slices.Clone(t.rooms) {
			if !slices.Contains(rooms, room) {
				a.tellLeft(s, room, now)
			}
		}
		for _, room := range rooms {
			a.tellJoined(s, room, now)
		}
	}
}

func (a *Admin) tellConnected(s *core.Socket, rooms []string, at time.Time) {
	if a.model[s] != nil {
		return
	}
	info := a.describe(s, rooms)
	a.model[s] = &told{transport: info.Transport, rooms: slices.Clone(rooms)}
	a.emit(a.namespace.To(), "socket_connected", raw(info.text()), moment(at))
}

func (a *Admin) tellDisconnected(s *core.Socket, why core.Reason, at time.Time) {
	t := a.model[s]
	if t == nil {
		return
	}
	delete(a.model, s)
	name := s.Namespace().Name()
	a.emit(a.namespace.To(), "socket_disconnected", name, s.ID(), string(why), moment(at))
	for _, room := range t.rooms {
		a.emit(a.namespace.To(), "room_left", name, room, s.ID(), moment(at))
	}
}

func (a *Admin) tellTransport(s *core.Socket, transport string) {
	t := a.model[s]
	if t == nil || t.transport == transport {
		return
	}
	t.transport = transport
	a.emit(a.namespace.To(), "socket_updated", map[string]any{
		"id": s.ID(), "nsp": s.Namespace().Name(), "transport": transport,
	})
}

func (a *Admin) tellData(s *core.Socket) {
	if a.model[s] == nil {
		return
	}
	a.emit(a.namespace.To(), "socket_updated", map[string]any{
		"id": s.ID(), "nsp": s.Namespace().Name(), "data": raw(a.dataOf(s)),
	})
}

func (a *Admin) tellJoined(s *core.Socket, room string, at time.Time) {
	t := a.model[s]
	if t == nil || slices.Contains(t.rooms, room) {
		return
	}
	t.rooms = append(t.rooms, room)
	a.emit(a.namespace.To(), "room_joined", s.Namespace().Name(), room, s.ID(), moment(at))
}

func (a *Admin) tellLeft(s *core.Socket, room string, at time.Time) {
	t := a.model[s]
	if t == nil {
		return
	}
	i := slices.Index(t.rooms, room)
	if i < 0 {
		return
	}
	t.rooms = slices.Delete(t.rooms, i, i+1)
	a.emit(a.namespace.To(), "room_left", s.Namespace().Name(), room, s.ID(), moment(at))
}

// state returns the sockets of this server as the pages know them, as many as
// there is room for in so many bytes.
func (a *Admin) state(room int) []codec.Raw {
	list := make([]codec.Raw, 0, len(a.model)) // not nil: it is sent as an array
	for s, t := range a.model {
		info := a.describe(s, t.rooms)
		info.Transport = t.transport
		text := info.text()
		if room -= len(text); room < 0 {
			a.options.Logger.LogAttrs(a.ctx, slog.LevelWarn, "admin UI: too many sockets to show",
				slog.Int("shown", len(list)), slog.Int("all", len(a.model)))
			break
		}
		list = append(list, raw(text))
	}
	return list
}

// sendState tells a page of all sockets, those of other servers first.
func (a *Admin) sendState(page *core.Socket, others []codec.Raw) {
	room := a.options.MaxStateBytes
	for _, other := range others {
		room -= len(other.Bytes())
	}
	list := append(slices.Clip(others), a.state(room)...)
	if list == nil {
		list = []codec.Raw{}
	}
	err := page.Emit(a.ctx, "all_sockets", list)
	for errors.Is(err, core.ErrTooLarge) && len(list) > 0 { // an outbox smaller than we have been told
		list = list[:len(list)/2]
		err = page.Emit(a.ctx, "all_sockets", list)
	}
	if err != nil && !errors.Is(err, core.ErrDisconnected) {
		a.options.Logger.LogAttrs(a.ctx, slog.LevelDebug, "admin UI: sockets not sent", slog.Any("error", err))
	}
}
