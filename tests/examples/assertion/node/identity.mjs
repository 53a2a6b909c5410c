import { createRemoteJWKSet, jwtVerify } from 'jose' // npm install jose

const keys = createRemoteJWKSet(new URL(process.env.IDENTITY_JWKS_URL)) // of the gateway: https://.../.well-known/jwks.json
const from = { issuer: 'https://gateway.acme.example', audience: 'https://chat.acme.example', algorithms: ['ES256'] }
const expected = { ...from, typ: 'identity-assertion+jwt', requiredClaims: ['exp', 'sub'], clockTolerance: 5 }

// Who X-Identity-Assertion says it is; rejects everything else.
export const identity = async (assertion) => (await jwtVerify(assertion, keys, expected)).payload
