"""Characters that may not reach a terminal as they are."""

BIDIRECTIONAL = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *BIDIRECTIONAL, 0x2028, 0x2029]
UNDECODABLE = range(0xDC80, 0xDD00)  # bytes that are not UTF-8, as surrogate escapes
LONE = [0xD800, 0xDBFF, 0xDC00, 0xDFFF]
HARMFUL = "".join(map(chr, [*CONTROLS, *UNDECODABLE, *LONE]))
