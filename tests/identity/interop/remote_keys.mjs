// Verifies a token as an application does that was given nothing but the issuer: it reads the discovery document, then
// lets `jose` fetch the keys. {"issuer", "audience", "token"} comes in on stdin as JSON, the verified claims go out.
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { issuer, audience, token } = JSON.parse(readFileSync(0, 'utf8'))
const discovery = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()
const keys = createRemoteJWKSet(new URL(discovery.jwks_uri))
const algorithms = discovery.id_token_signing_alg_values_supported
const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: discovery.issuer, audience, algorithms })
process.stdout.write(JSON.stringify({ payload, kid: protectedHeader.kid }))
