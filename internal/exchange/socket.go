package exchange

import (
	"net"
	"reflect"
	"syscall"
	"time"
)

// A socket is a connection with a descriptor.
type socket interface {
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// socketOf returns the socket under a connection, or nil if there is none.
// Looking at it and setting its read deadline are all that is done with it, so
// what the layers above it do to reads does not matter.
func socketOf(conn net.Conn) socket {
	const layers = 8 // more than anybody has, in case one wraps itself
	for range layers {
		switch c := conn.(type) {
		case socket:
			return usable(c)
		case interface{ NetConn() net.Conn }: // TLS
			conn = c.NetConn()
		default:
			conn = embedded(conn)
		}
	}
	return nil
}

// embedded returns the net.Conn that a connection is a shell of. That is how
// fasthttp counts connections when MaxConnsPerIP is set, in a type that cannot
// be named here.
func embedded(conn net.Conn) net.Conn {
	v := reflect.ValueOf(conn)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	field, ok := v.Elem().Type().FieldByName("Conn")
	if !ok || !field.Anonymous || len(field.Index) != 1 {
		return nil
	}
	inner, _ := reflect.TypeAssert[net.Conn](v.Elem().Field(field.Index[0]))
	return inner
}
