/*
 * sidecar_vector - a published key and what was wrapped to it. Source: the test data of
 * microsoft/confidential-sidecar-containers, pkg/skr/skr_test.go (MIT licence): an RSA
 * key (PKCS #1 DER in base64), a CKM_RSA_AES_KEY_WRAP blob, what it holds, and the
 * SHA-256 of the key's runtime data.
 */
#ifndef CK_TEST_SIDECAR_VECTOR_H
#define CK_TEST_SIDECAR_VECTOR_H

#define SIDECAR_KEY                                                                                \
	"MIIEpAIBAAKCAQEAv965SRmyp8zbG5eNFuDCmmiSeaHpujG2bC/keLSuzvDMLO1W"                         \
	"yrUJveaa5bzMoO0pA46pXkmbqHisozVzpiNDLCo6d3z4TrGMeFPf2APIMu+RSrzN"                         \
	"56qvHVyIr5caWfHWk+FMRDwAefyNYRHkdYYkgmFK44hhUdtlCAKEv5UQpFZjvh4i"                         \
	"I9jVBdGYMyBaKQLhjI5WIh+QG6Za5sSuOCFMnmuyuvN5DflpLFz595Ss+EoBIY+N"                         \
	"il6lCtvcGgR+IbjUYHAOs5ajamTzgeO8kx3VCE9HcyKmyUZsiyiF6IDRp2Bpy3NH"                         \
	"TjIz7tmkpTHx7tHnRtlfE2FUv0B6i/QYl/ZA5QIDAQABAoIBAG9Ig9jFIdy3MWII"                         \
	"fVmGlPgvrL0FTuWiTbbj9DSaP0VhXlq0cYFyjSrqZG7ZGSpBQ2d/x/Ya5UBKdX7X"                         \
	"0rLKgvxLpcuF3RLvYZSsuQi18NiyIGfjp901Hwn9kH2fOzZt0NHGe5Cb6H7YHzvs"                         \
	"v7/2RJimS2Q6xo9Om4OQymO/1n4pZ+ZMiTy56AvIYZ/ToD8lorlzkGFNQsljmTSC"                         \
	"IHEqRuyttI0Tf64jNaD8K74EThlZG8AE/yNG2FiRtN37+gAgMhxNWoF64s+9D/G0"                         \
	"1xL96WNP5GmxXidK4BAUwWZmLJTtgUDcGjJbmfSuEMFjpRA9wfcL717jDzB0AImO"                         \
	"OnZSgWECgYEA2swHf+pU8D1vshCBCTx/wGeIMRJE1Nw3YBhvPrUCExMo8M2UAkzs"                         \
	"lKq61xSnh0X7f/Ma28vj9/gT+AHOnoCSdFSFO3dxX8B3y+B3jVvbxx7P+iZrM8J+"                         \
	"VgrqPaXrIpBNPCooieD6O9EGvyC0+somgvtkA3ne2jdxX1rbPaQZr5kCgYEA4H6Y"                         \
	"dWb2F5Dglhby9oXfjaLslIumoTTRFTgygIXHBG0auwMQzwfhuLyzH55mBICn16Ez"                         \
	"LRyqssna5NgfTF0XrZT/BIPo8dSj0hlWvDtvCnZbDMTLYrk+GdypJD2oWmsbB6gB"                         \
	"FjdjU4pv8c/4WjGuuWJ8Vs47+HTBNJlJlr6fWy0CgYBapPJqdRtxWBKBM8Mxn2XR"                         \
	"wVKz+byYbw9l+VmFIhpU6rgoYxLxjQrqYHz9hCoPqdeS35V9/89XOOiU87K1CdEi"                         \
	"7q0vwMEwiR1YUotU/fxkVwiUuvvouqf6X5VBqw5qCFxnE5Qt4w3oYCWqYxN3Xu5r"                         \
	"j1iU9BV2VEfc2FhCBk056QKBgQDChm/tKy6K9QrmgzQ80XwI6ug9P1U/0thpnqyE"                         \
	"GWd+OlwzOFDUVGwO+9PqzgJwXFsTyabirDhte+Ok8HEOZowh6T2g1/x9sFfTsgkq"                         \
	"SgXJ9wymX9As138sQbx+nr7GupBNbhKjAZObzBV8X01AOlTAZsp/HW1xuRnBTiIp"                         \
	"8Tt8cQKBgQDUv6Jpe1/kO0YJ6KlqVcMIZa+aQFamoMavlCNxxBvjoPnVdWB9PtWi"                         \
	"arzVMyAVvTjnT1QvGPJj1dffE+GSrAf3mssdp/tGfMGcgSB0DRcE1jz/JlzEc81F"                         \
	"o9Ki1lCw8ljoaNfJ8K+7wdiQ1V/H+rgL691P/2ZGc4vdOXJvy/hGZA=="

#define SIDECAR_WRAPPED                                                                            \
	"deOO7jP6FnTc12fnCBKlpKS-ElBv-YdNimSbEVyTQaOlmc8caf8l2xa3tz6pSzjY"                         \
	"oO7AMB-vFcftTjQyvw5ju_0uLeqRnTUQuzRkgEjoEumQAOeV3zS_5mDG6cupZWYl"                         \
	"yihTLFSt5_1VR0t9T_FCBj0HxeHWsYJxJomlOMlyBv23f_6Fq15dxryb3CORXiUH"                         \
	"9K0fOINmsL3DNzMKx4srAf9OssuV1VqrSKSoHLcyvG1SIHHfAXg3wEU5NfoxFiPc"                         \
	"_a4Pv_bmvFLJ_fs1ETE3GmkuxkX-r17AtGSijJnl6H3YS-WGkDhnfTJDo6NEPGKk"                         \
	"habDwAxoTblA2pa71N-AW-CCBgbPy-9bFYpQyqEAIRbLeQLxLmVWm6ZVNW3iRRe9"                         \
	"i1cUFnSEkAg"

#define SIDECAR_PLAIN "d85ecc983a5cfe3a5fe377f79d14026e73ca7bb54ae8efc0d8128a4b88a85676"

#define SIDECAR_RUNTIME_SHA256 "7ab000a323b3c873f5b81bbe584e7c1a26bcf40dc27e00f8e0d144b1ed2d14f1"

#endif
