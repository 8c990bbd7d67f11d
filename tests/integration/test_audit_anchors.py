"""An anchor kept outside shows what a store that fits itself hides, and is believed only where it may be."""

import base64

import orjson
import pytest
from cryptography.exceptions import InvalidSignature

from backbone.store.acts import record_act
from backbone.store.anchoring import CLOCKS_APART_MS, check_anchor, make_anchor, marks_of, verify_acts
from backbone.store.anchors import Anchor, PublicKeys, check_signature, load_anchor, sign_anchor
from backbone.store.audit import ChainsReport, verify_chains
from backbone.store.engine import Store
from backbone.store.kept_settings import DEPLOYMENT, keep_setting
from backbone.store.secrets import SecretBox
from schemas.errors import (
    AnchorForged,
    AnchorKeyUnknown,
    AnchorOfAnother,
    AnchorOfFuture,
    AnchorUnreadable,
    TrailBroken,
)
from tests.support.audited import audited, moved_earlier, story, without_order
from tests.support.chains import DAY_ONE_MS, rewrite_trail, tamper
from tests.support.documents import ROOT, run_code

__all__ = ["audited"]

OLD = "k1:" + base64.b64encode(bytes(range(32))).decode()
NEW = "k2:" + base64.b64encode(bytes(range(1, 33))).decode()
RING = SecretBox.parse(OLD)
NOW_MS = DAY_ONE_MS + 1_000_000


async def anchored(store: Store, ring: SecretBox = RING, now_ms: int = NOW_MS) -> Anchor:
    """An anchor that went through a file."""
    made = await make_anchor(store, ring, now_ms=lambda: now_ms)
    return load_anchor(made.document(), name="a file")


async def verified(store: Store, *anchors: Anchor) -> ChainsReport:
    """The report of a run with these anchors."""
    return await verify_chains(store, marks=marks_of(anchors))


async def test_a_true_store_fits_its_anchor(audited: Store) -> None:
    """Then, and after it has grown."""
    anchor = await anchored(audited)
    assert (anchor.rows, anchor.partitions) == (24, 2)
    assert not (await verified(audited, anchor)).bad
    grown = [*story(0), *story(0)]
    await rewrite_trail(audited, 0, grown)
    report = await verified(audited, anchor)
    assert (report.bad, report.rows) == ((), 36)
    assert await verify_acts(audited, [anchor]) == ()


async def test_a_cut_tail_is_found(audited: Store) -> None:
    """With the head set back the store fits itself; the anchor knows of more rows."""
    anchor = await anchored(audited)
    await rewrite_trail(audited, 2, story(2)[:9])
    assert not (await verify_chains(audited)).bad
    report = await verified(audited, anchor)
    assert report.bad
    assert (report.bad[0]["partition"], report.bad[0]["seq"]) == (2, 10)
    assert report.bad[0]["check"] == "anchor"
    assert "rows up to 12 were there" in report.bad[0]["problem"]
    assert set(report.heads) == {0}


async def test_a_removed_order_is_found(audited: Store) -> None:
    """Its rows are gone, the rest is hashed anew and new rows have come since: the anchored row is another."""
    anchor = await anchored(audited)
    await rewrite_trail(audited, 0, without_order([*story(0), *story(0)], "o2-0"))
    assert not (await verify_chains(audited)).bad
    report = await verified(audited, anchor)
    assert report.bad
    assert (report.bad[0]["partition"], report.bad[0]["seq"]) == (0, 12)
    assert "rows from 1 to 12" in report.bad[0]["problem"]


async def test_a_wholly_rewritten_chain_is_found_and_narrowed_down(audited: Store) -> None:
    """Each anchor that still fits moves the first suspect row up."""
    whole = story(0)
    await rewrite_trail(audited, 0, whole[:4])
    early = await anchored(audited)
    await rewrite_trail(audited, 0, whole)
    late = await anchored(audited)
    await rewrite_trail(audited, 0, [*whole[:6], *moved_earlier(whole[6:], 5)])
    assert not (await verify_chains(audited)).bad
    assert not (await verified(audited, early)).bad
    report = await verified(audited, late, early)
    assert report.bad
    assert report.bad[0]["seq"] == 12
    assert "rows from 5 to 12" in report.bad[0]["problem"]
    await rewrite_trail(audited, 0, moved_earlier(whole, 5))
    report = await verified(audited, early, late)
    assert report.bad
    assert report.bad[0]["seq"] == 4
    assert "rows from 1 to 4" in report.bad[0]["problem"]


async def test_a_partition_that_only_the_anchor_knows_is_missed(audited: Store) -> None:
    """Trail, offsets row and orders are gone without a trace."""
    anchor = await anchored(audited)
    await tamper(audited, [f"DELETE FROM {table} WHERE partition = 2" for table in ("trail", "offsets", "orders")])
    assert not (await verify_chains(audited)).bad
    report = await verified(audited, anchor)
    assert report.bad
    assert (report.bad[0]["partition"], report.bad[0]["seq"]) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["heads"][0].update(hash="0" * 64),
        lambda fields: fields["heads"][0].update(seq=11),
        lambda fields: fields["heads"].pop(),
        lambda fields: fields.update(made_at="2020-01-01T00:00:00.000Z"),
        lambda fields: fields["acts"].update(count=7),
        lambda fields: fields.update(signature=base64.b64encode(bytes(64)).decode()),
        lambda fields: fields.update(signature="!"),
    ],
)
@pytest.mark.parametrize("audited", ["sqlite"], indirect=True)
async def test_a_forged_anchor_is_refused(audited: Store, change: object) -> None:
    """Whatever was changed in it, the signature no longer fits."""
    fields = orjson.loads((await anchored(audited)).document())
    assert callable(change)
    change(fields)
    forged = load_anchor(orjson.dumps(fields), name="a file")
    with pytest.raises(AnchorForged, match="a file"):
        check_signature(forged, PublicKeys.of_ring(RING), name="a file")


@pytest.mark.parametrize("audited", ["sqlite"], indirect=True)
async def test_another_key_of_the_same_id_is_a_forgery(audited: Store) -> None:
    """Who can write the file cannot sign it."""
    anchor = sign_anchor(await anchored(audited), SecretBox.parse(NEW.replace("k2", "k1")))
    with pytest.raises(AnchorForged):
        check_signature(anchor, PublicKeys.of_ring(RING), name="a file")


@pytest.mark.parametrize("audited", ["sqlite"], indirect=True)
async def test_an_old_anchor_is_good_as_long_as_its_key_is_there(audited: Store) -> None:
    """After a rotation the ring's old key checks it; without that key it is said so; a public key alone will do."""
    anchor = await anchored(audited)
    rotated = SecretBox.parse(f"{NEW},{OLD}")
    assert (await anchored(audited, rotated)).key_id == "k2"
    check_signature(anchor, PublicKeys.of_ring(rotated), name="a file")
    with pytest.raises(AnchorKeyUnknown, match="'k1'"):
        check_signature(anchor, PublicKeys.of_ring(SecretBox.parse(NEW)), name="a file")
    texts = PublicKeys.of_ring(rotated).texts()
    assert list(texts) == ["k2", "k1"]
    check_signature(anchor, PublicKeys.parse([f"k1:{texts['k1']}"]), name="a file")
    with pytest.raises(AnchorForged):
        check_signature(anchor, PublicKeys.parse([f"k1:{texts['k2']}"]), name="a file")
    check_documented = run_code(ROOT / "docs/audit.md", "check")["check_anchor"]
    check_documented(orjson.loads(anchor.document()), texts["k1"])
    with pytest.raises(InvalidSignature):
        check_documented(orjson.loads(anchor.document()) | {"rows": 1}, texts["k1"])


@pytest.mark.parametrize(
    "text", ["", "k1", "k1:", "k1:!", "k1:AAAA", OLD, "k1:" + base64.b64encode(bytes(44)).decode()]
)
def test_what_is_no_public_key_is_said(text: str) -> None:
    """A key of the ring is none either: it is never taken for one."""
    with pytest.raises(ValueError, match="audit key"):
        PublicKeys.parse([text])


async def test_an_anchor_of_another_deployment_is_refused(audited: Store) -> None:
    """Even under the same ring; a store that was never anchored takes any."""
    anchor = await anchored(audited)
    foreign = sign_anchor(anchor.model_copy(update={"deployment": "f" * 32}), RING)
    keys = PublicKeys.of_ring(RING)
    with pytest.raises(AnchorOfAnother, match="ffff"):
        await check_anchor(audited, foreign, keys, name="a file", now_ms=NOW_MS)
    await check_anchor(audited, anchor, keys, name="a file", now_ms=NOW_MS)
    await tamper(audited, [f"DELETE FROM kept_settings WHERE name = '{DEPLOYMENT}'"])
    await check_anchor(audited, foreign, keys, name="a file", now_ms=NOW_MS)
    assert await keep_setting(audited, DEPLOYMENT, anchor.deployment) == anchor.deployment


async def test_an_anchor_of_the_future_is_refused(audited: Store) -> None:
    """Clocks may differ by some minutes, no more."""
    anchor = await anchored(audited)
    keys = PublicKeys.of_ring(RING)
    await check_anchor(audited, anchor, keys, name="a file", now_ms=NOW_MS - CLOCKS_APART_MS)
    with pytest.raises(AnchorOfFuture, match="clock"):
        await check_anchor(audited, anchor, keys, name="a file", now_ms=NOW_MS - CLOCKS_APART_MS - 1)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"x", b"[]", b"null", b"{}", b"\xff", b'{"format":"mealtrail-anchor/2"}', b'{"format":7}'),
        b'{"format":"mealtrail-anchor/1"}',
    ],
)
def test_what_is_no_anchor_is_said(content: bytes) -> None:
    """And what is wrong with it, with the file's name."""
    with pytest.raises(AnchorUnreadable, match="the-file"):
        load_anchor(content, name="the-file")


@pytest.mark.parametrize("member", ["heads", "made_at", "key_id", "rows", "acts", "deployment"])
@pytest.mark.parametrize("audited", ["sqlite"], indirect=True)
async def test_an_anchor_without_a_member_or_with_a_wrong_one_is_unreadable(audited: Store, member: str) -> None:
    """Nothing is guessed."""
    fields = orjson.loads((await anchored(audited)).document())
    for wrong in ({**fields, member: True}, {name: fields[name] for name in fields if name != member}):
        with pytest.raises(AnchorUnreadable, match=member):
            load_anchor(orjson.dumps(wrong), name="a file")
    with pytest.raises(AnchorUnreadable, match="more"):
        load_anchor(orjson.dumps({**fields, "more": 1}), name="a file")


async def test_nothing_is_signed_of_a_store_that_contradicts_itself(audited: Store) -> None:
    """A cut tail, while the offsets row still knows of it."""
    await tamper(audited, ["DELETE FROM trail WHERE partition = 0 AND seq = 12"])
    with pytest.raises(TrailBroken, match="partition 0 ends at row 11"):
        await anchored(audited)


async def test_acts_that_were_changed_removed_or_dated_back_are_found(audited: Store) -> None:
    """The anchor covers those some minutes older than itself; younger ones are left to the next."""

    async def act(at: int, subject: str) -> None:
        async with audited.transaction() as connection:
            await record_act(
                connection, workspace="default", at=at, actor="ann", act="source.add", subject=subject, detail={"n": 1}
            )

    for number in range(3):
        await act(DAY_ONE_MS + number, f"s{number}")
    anchor = await anchored(audited)
    assert anchor.acts.count == 3
    await act(NOW_MS - CLOCKS_APART_MS + 1, "young")
    assert await verify_acts(audited, [anchor]) == ()
    await tamper(audited, ["UPDATE admin_acts SET actor = 'bob' WHERE subject = 's1'"])
    [bad] = await verify_acts(audited, [anchor])
    assert (bad["partition"], bad["seq"], bad["check"]) == (None, None, "acts")
    await tamper(audited, ["UPDATE admin_acts SET actor = 'ann' WHERE subject = 's1'"])
    assert await verify_acts(audited, [anchor]) == ()
    await act(DAY_ONE_MS + 1, "dated-back")
    assert len(await verify_acts(audited, [anchor])) == 1
    await tamper(audited, ["DELETE FROM admin_acts WHERE subject IN ('dated-back', 's2')"])
    [bad] = await verify_acts(audited, [anchor])
    assert "has 3: there are 2" in bad["problem"]
