package codec

// Size is the number of bytes that the arguments keep in memory, attachments
// included. It does not change.
func (a Args) Size() int {
	const spanBytes = 8
	size := len(a.data) + spanBytes*len(a.spans.rest)
	if s, ok := a.values.(interface{ Size() int }); ok {
		size += s.Size()
	}
	return size
}
