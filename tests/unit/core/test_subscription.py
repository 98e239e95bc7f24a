from __future__ import annotations

import itertools

import pytest

from shared.core.digest import DigestFormat
from shared.core.membership import DeliveryMode, MemberStatus
from shared.core.subscription import RequestAction, Step, SubscriptionPolicy, first_step, step_after_confirmation

P = SubscriptionPolicy
JOIN = RequestAction.JOIN


@pytest.mark.parametrize(
    ("policy", "first", "then"),
    [
        (P.OPEN, Step.DO, Step.DO),
        (P.CONFIRM, Step.CONFIRM, Step.DO),
        (P.APPROVE, Step.APPROVE, Step.APPROVE),
        (P.CONFIRM_AND_APPROVE, Step.CONFIRM, Step.APPROVE),
        (P.CLOSED, Step.MAY_NOT_JOIN, Step.MAY_NOT_JOIN),
        (P.INVITE, Step.MAY_NOT_JOIN, Step.MAY_NOT_JOIN),
    ],
)
def test_joining_goes_by_the_lists_policy(policy: P, first: Step, then: Step) -> None:
    for status in (None, MemberStatus.UNSUBSCRIBED, MemberStatus.HELD):
        assert first_step(JOIN, policy, status) is first
    assert step_after_confirmation(JOIN, policy) is then
    assert first_step(JOIN, policy, MemberStatus.SUBSCRIBED) is Step.IS_MEMBER


@pytest.mark.parametrize("policy", P)
def test_who_is_invited_only_has_to_say_yes(policy: P) -> None:
    assert first_step(JOIN, policy, None, is_invited=True) is Step.CONFIRM
    assert step_after_confirmation(JOIN, policy, is_invited=True) is Step.DO
    assert first_step(JOIN, policy, MemberStatus.SUBSCRIBED, is_invited=True) is Step.IS_MEMBER


def test_whatever_the_policy_members_leave_and_change_by_confirming() -> None:
    actions = [action for action in RequestAction if action is not JOIN]
    for policy, action in itertools.product(P, actions):
        for status in (MemberStatus.SUBSCRIBED, MemberStatus.HELD):
            expected = Step.MAIL_LINK if action is RequestAction.PREFERENCES else Step.CONFIRM
            assert first_step(action, policy, status) is expected
        assert first_step(action, policy, None) is Step.IS_NO_MEMBER
        assert first_step(action, policy, MemberStatus.UNSUBSCRIBED) is Step.IS_NO_MEMBER
        assert step_after_confirmation(action, policy) is Step.DO


def test_every_mode_has_its_action() -> None:
    assert [RequestAction.setting(mode).mode for mode in DeliveryMode] == list(DeliveryMode)
    for form in DigestFormat:
        action = RequestAction.setting(DeliveryMode.DIGEST, form)
        assert (action.mode, action.digest_format) == (DeliveryMode.DIGEST, form)
    assert (JOIN.mode, JOIN.digest_format) == (None, None)
